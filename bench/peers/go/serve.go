package main

import (
	"bufio"
	"bytes"
	"errors"
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
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err == nil, "no port is free")
	fmt.Printf("{\"Listening\":%q}\n", listener.Addr().String())
	switch protocol {
	case "framework":
		go http.Serve(listener, http.HandlerFunc(hello))
	case "http":
		go acceptAll(listener, answerHTTP)
	case "echo":
		go acceptAll(listener, echo)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Count") {
			fmt.Printf("{\"Count\":{\"open\":%d,\"failed_accepts\":0}}\n", open.Load())
		}
	}
}

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "Hello, world!")
}

// A peer that resets its connection ends it as one that closes it does. (TCP_NODELAY is Go's
// default.)
func acceptAll(listener net.Listener, serve func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		go func() {
			open.Add(1)
			defer open.Add(-1)
			defer connection.Close()
			serve(connection)
		}()
	}
}

func echo(connection net.Conn) {
	received := make([]byte, buffer)
	for {
		got, err := connection.Read(received)
		if err != nil {
			return
		}
		if _, err := connection.Write(received[:got]); err != nil {
			return
		}
	}
}

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, world!")

// Requests without a body are read line by line, for the package has a parser within its server alone.
func answerHTTP(connection net.Conn) {
	reader := bufio.NewReaderSize(connection, buffer)
	for readRequest(reader) == nil {
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

var errNoRequest = errors.New("it is no request")

func readRequest(reader *bufio.Reader) error {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if spaces := bytes.Count(line, []byte(" ")); spaces != 2 || !bytes.HasSuffix(line, []byte(" HTTP/1.1\r\n")) {
		return errNoRequest
	}
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return nil
		}
		if name, _, isHeader := bytes.Cut(line, []byte(":")); !isHeader || len(name) == 0 {
			return errNoRequest
		}
	}
}
