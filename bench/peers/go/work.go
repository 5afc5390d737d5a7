package main

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	capacity   = 1024
	senders    = 4
	contenders = 8
	leaf       = 2000
	neighbours = 32
	clients    = 64
	slow       = 5 * time.Millisecond
	pause      = time.Millisecond
)

func work(name string, count int) figures {
	switch name {
	case "spawn_join":
		return spawnJoin(count)
	case "spawn_all":
		return spawnAll(count)
	case "yield_2":
		return yields(2, count)
	case "yield_1000":
		return yields(1_000, count)
	case "yield_100000":
		return yields(100_000, count)
	case "ping_pong":
		return pingPong(count)
	case "unix_ping_pong":
		return unixPingPong(count)
	case "mpsc":
		return manyToOne(count)
	case "skynet":
		return skynet(count)
	case "mutex":
		return mutex(count)
	case "tree":
		return tree(count)
	case "unbalanced":
		return unbalanced(count)
	case "wake_unpark":
		return wakeUnpark(count)
	case "wake_timer":
		return wakeTimer(count)
	case "wake_socket":
		return wakeSocket(count)
	case "udp_echo":
		return udpEcho(count)
	case "timers":
		return timers(count)
	case "sleepers":
		return sleepers(count)
	case "slow_neighbour":
		return slowNeighbour(count)
	}
	return figures{"absent": "no such work"}
}

func each(start time.Time, count int) figures {
	return figures{"ns": float64(time.Since(start).Nanoseconds()) / float64(count)}
}

func spawnJoin(count int) figures {
	start := time.Now()
	for n := range count {
		done := make(chan int, 1)
		go func() { done <- n }()
		check(<-done == n, "a wrong number")
	}
	return each(start, count)
}

func spawnAll(count int) figures {
	all := func() {
		var group sync.WaitGroup
		numbers := make([]int, count)
		group.Add(count)
		for n := range count {
			go func() {
				numbers[n] = n
				group.Done()
			}()
		}
		group.Wait()
		sum := 0
		for _, n := range numbers {
			sum += n
		}
		check(sum == count*(count-1)/2, "a wrong sum")
	}
	all()
	start := time.Now()
	all()
	return each(start, count)
}

func yields(goroutines, count int) figures {
	times := max(count/goroutines, 1)
	var arrived, finished atomic.Int64
	var open atomic.Bool
	end := make(chan time.Time, 1)
	for range goroutines {
		go func() {
			arrived.Add(1)
			for !open.Load() {
				runtime.Gosched()
			}
			for range times {
				runtime.Gosched()
			}
			if finished.Add(1) == int64(goroutines) {
				end <- time.Now()
			}
		}()
	}
	for arrived.Load() < int64(goroutines) {
		runtime.Gosched()
	}
	start := time.Now()
	open.Store(true)
	took := (<-end).Sub(start)
	return figures{"ns": float64(took.Nanoseconds()) / float64(goroutines*times)}
}

func pingPong(count int) figures {
	to, back := make(chan int, 1), make(chan int, 1)
	start := time.Now()
	go func() {
		for n := range to {
			back <- n
		}
	}()
	for n := range count {
		to <- n
		check(<-back == n, "a wrong answer")
	}
	close(to)
	return each(start, count)
}

func manyToOne(count int) figures {
	messages := make(chan int, capacity)
	start := time.Now()
	var group sync.WaitGroup
	group.Add(senders)
	for range senders {
		go func() {
			for n := range count / senders {
				messages <- n
			}
			group.Done()
		}()
	}
	go func() {
		group.Wait()
		close(messages)
	}()
	received := 0
	for range messages {
		received++
	}
	check(received == count/senders*senders, "messages were lost")
	return each(start, count)
}

func skynet(count int) figures {
	var node func(parent chan<- int, first, size int)
	node = func(parent chan<- int, first, size int) {
		if size == 1 {
			parent <- first
			return
		}
		sums := make(chan int, 10)
		for child := range 10 {
			go node(sums, first+child*(size/10), size/10)
		}
		sum := 0
		for range 10 {
			sum += <-sums
		}
		parent <- sum
	}
	root := func() {
		sum := make(chan int, 1)
		go node(sum, 0, count)
		check(<-sum == count*(count-1)/2, "a wrong sum")
	}
	root()
	start := time.Now()
	root()
	return each(start, count)
}

func mutex(count int) figures {
	var lock sync.Mutex
	var group sync.WaitGroup
	number := 0
	start := time.Now()
	group.Add(contenders)
	for range contenders {
		go func() {
			for range count / contenders {
				lock.Lock()
				number++
				lock.Unlock()
			}
			group.Done()
		}()
	}
	group.Wait()
	result := each(start, count)
	check(number == count/contenders*contenders, "a wrong number")
	return result
}

func spin(n, times int) uint64 {
	x := uint64(n)*2 + 1
	for range times {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func tree(count int) figures {
	var node func(first, size int) uint64
	node = func(first, size int) uint64 {
		if size == 1 {
			return spin(first, leaf)
		}
		half := size / 2
		left := make(chan uint64, 1)
		go func() { left <- node(first, half) }()
		right := node(first+half, half)
		return <-left + right
	}
	var whole uint64
	for n := range count {
		whole += spin(n, leaf)
	}
	start := time.Now()
	check(node(0, count) == whole, "a wrong sum")
	return each(start, count)
}

func unbalanced(count int) figures {
	part := func(n int) uint64 {
		if n%64 == 0 {
			return spin(n, 256_000)
		}
		return spin(n, 1_000)
	}
	var whole uint64
	for n := range count {
		whole += part(n)
	}
	start := time.Now()
	var group sync.WaitGroup
	group.Add(count)
	parts := make([]uint64, count)
	for n := range count {
		go func() {
			parts[n] = part(n)
			group.Done()
		}()
	}
	group.Wait()
	var sum uint64
	for _, p := range parts {
		sum += p
	}
	check(sum == whole, "a wrong sum")
	return each(start, count)
}

func percentiles(latencies []time.Duration) (p50, p99 float64) {
	slices.Sort(latencies)
	at := func(q int) float64 {
		return float64(latencies[(len(latencies)-1)*q/100].Nanoseconds()) / 1e3
	}
	return at(50), at(99)
}

func latencyFigures(latencies []time.Duration) figures {
	p50, p99 := percentiles(latencies)
	return figures{"p50_us": p50, "p99_us": p99}
}

// What an OS thread brings about while the runtime is idle. It sleeps in the kernel, so that the
// runtime does not know of it.
func cause(count int, caused, seen *atomic.Int64, origin time.Time, wake func()) {
	runtime.LockOSThread()
	nap := func(time time.Duration) {
		span := syscall.NsecToTimespec(time.Nanoseconds())
		syscall.Nanosleep(&span, nil)
	}
	for done := int64(1); done <= int64(count); done++ {
		nap(pause)
		caused.Store(time.Since(origin).Nanoseconds())
		wake()
		for seen.Load() < done {
			nap(100 * time.Microsecond)
		}
	}
}

func wakes(count int, wake func(), wait func()) figures {
	var caused, seen atomic.Int64
	origin := time.Now()
	go cause(count, &caused, &seen, origin, wake)
	latencies := make([]time.Duration, count)
	for n := range count {
		wait()
		latencies[n] = time.Since(origin) - time.Duration(caused.Load())
		seen.Add(1)
	}
	return latencyFigures(latencies)
}

func wakeUnpark(count int) figures {
	signal := make(chan struct{}, 1)
	return wakes(count, func() { signal <- struct{}{} }, func() { <-signal })
}

func wakeTimer(count int) figures {
	latencies := make([]time.Duration, count)
	for n := range count {
		start := time.Now()
		time.Sleep(pause)
		latencies[n] = time.Since(start) - pause
	}
	return latencyFigures(latencies)
}

func nap(n int) time.Duration {
	return 50*time.Millisecond + time.Duration(spin(n, 3)%100_000)*time.Microsecond
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func timers(count int) figures {
	latencies := make([]time.Duration, count)
	var group sync.WaitGroup
	before := cpuTime()
	group.Add(count)
	for n := range count {
		go func() {
			start := time.Now()
			time.Sleep(nap(n))
			latencies[n] = time.Since(start) - nap(n)
			group.Done()
		}()
	}
	group.Wait()
	used := cpuTime() - before
	p50, p99 := percentiles(latencies)
	return figures{
		"ns":          float64(used.Nanoseconds()) / float64(count),
		"late_p50_us": p50,
		"late_p99_us": p99,
	}
}

func memory() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err == nil, "no /proc/self/status")
	sum := 0
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmPTE:") {
			kibibytes, _ := strconv.Atoi(strings.Fields(line)[1])
			sum += kibibytes << 10
		}
	}
	return sum
}

func sleepers(count int) figures {
	var began atomic.Int64
	before := memory()
	for range count {
		go func() {
			began.Add(1)
			time.Sleep(time.Hour)
		}()
	}
	for began.Load() < int64(count) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	return figures{"bytes": float64(memory()-before) / float64(count)}
}

func slowNeighbour(count int) figures {
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
			for start := time.Now(); time.Since(start) < slow; {
				spin(1, 100)
			}
			runtime.Gosched()
		}
	}()
	latencies := make([]time.Duration, (neighbours-1)*count)
	var group sync.WaitGroup
	group.Add(neighbours - 1)
	for neighbour := range neighbours - 1 {
		go func() {
			for n := range count {
				start := time.Now()
				time.Sleep(pause)
				latencies[neighbour*count+n] = time.Since(start) - pause
			}
			group.Done()
		}()
	}
	group.Wait()
	stop.Store(true)
	return latencyFigures(latencies)
}
