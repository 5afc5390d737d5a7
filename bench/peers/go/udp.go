package main

import (
	"net"
	"sync"
	"time"
)

func udpEcho(count int) figures {
	server := bindUDP()
	address := server.LocalAddr().(*net.UDPAddr)
	served := make(chan struct{})
	go func() {
		defer close(served)
		buffer := make([]byte, 1500)
		for {
			n, client, err := server.ReadFromUDPAddrPort(buffer)
			check(err == nil, "cannot receive")
			if n == 0 {
				return
			}
			_, err = server.WriteToUDPAddrPort(buffer[:n], client)
			check(err == nil, "cannot send")
		}
	}()
	times := count / clients
	start := time.Now()
	var group sync.WaitGroup
	for range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			socket, err := net.DialUDP("udp4", nil, address)
			check(err == nil, "no socket")
			defer socket.Close()
			question := make([]byte, 64)
			answer := make([]byte, 1500)
			for range times {
				_, err := socket.Write(question)
				check(err == nil, "cannot send")
				n, err := socket.Read(answer)
				check(err == nil && n == len(question), "a wrong answer")
			}
		}()
	}
	group.Wait()
	result := each(start, times*clients)
	_, err := bindUDP().WriteToUDP(nil, address)
	check(err == nil, "cannot send")
	<-served
	return result
}

func bindUDP() *net.UDPConn {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err == nil, "no port is free")
	return socket
}
