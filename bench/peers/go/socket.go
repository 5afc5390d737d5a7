package main

import (
	"io"
	"net"
	"syscall"
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
