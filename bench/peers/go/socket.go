package main

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// The thread that writes does so with a blocking socket of its own, past the runtime's poller.
func wakeSocket(count int) figures {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err == nil, "no port is free")
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check(err == nil, "no socket")
	syscall.SetsockoptInt(client, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	address := &syscall.SockaddrInet4{Port: listener.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	check(syscall.Connect(client, address) == nil, "cannot connect")
	server, err := listener.Accept()
	check(err == nil, "cannot accept")
	byte1 := make([]byte, 1)
	return wakes(count,
		func() { syscall.Write(client, []byte{1}) },
		func() { io.ReadFull(server, byte1) })
}

func unixPingPong(count int) figures {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check(err == nil, "no pair of sockets")
	near, far := connOf(pair[0]), connOf(pair[1])
	start := time.Now()
	go func() {
		byte1 := make([]byte, 1)
		for {
			if read, _ := far.Read(byte1); read == 0 {
				return
			}
			far.Write(byte1)
		}
	}()
	byte1 := make([]byte, 1)
	for n := range count {
		near.Write([]byte{byte(n)})
		io.ReadFull(near, byte1)
		check(byte1[0] == byte(n), "a wrong answer")
	}
	near.Close()
	return each(start, count)
}

func connOf(fd int) net.Conn {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	check(err == nil, "no connection")
	return conn
}
