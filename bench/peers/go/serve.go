package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const buffer = 4096

var open atomic.Int64

func serve(protocol string) {
	if protocol == "axum" {
		fmt.Println(`{"absent":"it has no server for Axum"}`)
		return
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err == nil, "no port is free")
	fmt.Printf("{\"Listening\":%q}\n", listener.Addr().String())
	if protocol == "http" {
		hello := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "Hello, world!")
		}
		go http.Serve(listener, http.HandlerFunc(hello))
	} else {
		go acceptAll(listener)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Count") {
			fmt.Printf("{\"Count\":{\"open\":%d,\"failed_accepts\":0}}\n", open.Load())
		}
	}
}

func acceptAll(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		go echo(connection)
	}
}

// A peer that resets its connection ends it as one that closes it does. (TCP_NODELAY is Go's
// default.)
func echo(connection net.Conn) {
	open.Add(1)
	defer open.Add(-1)
	defer connection.Close()
	bytes := make([]byte, buffer)
	for {
		got, err := connection.Read(bytes)
		if err != nil {
			return
		}
		if _, err := connection.Write(bytes[:got]); err != nil {
			return
		}
	}
}
