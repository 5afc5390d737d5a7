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
	batch      = 1000
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
	case "spawn_1000":
		return spawnBatches(count)
	case "spawn_all":
		return spawnAll(count)
	case "ping_pong":
		return pingPong(count)
	case "unix_ping_pong":
		return unixPingPong(count)
	case "mpsc":
		return manyToOne(count)
	case "skynet":
		return skynet(count)
	case "mutex":
		return mutex(count, func() {})
	case "mutex_held":
		return mutex(count, runtime.Gosched)
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
	case "slow_neighbour_told":
		result := slowNeighbour(count)
		result["note"] = "it need not be told"
		return result
	}
	if threads, isYield := strings.CutPrefix(name, "yield_"); isYield {
		return yields(number(threads), count)
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

func spawnThenJoinAll(count int) {
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

func spawnBatches(count int) figures {
	batches := count / batch
	spawnThenJoinAll(batch)
	start := time.Now()
	for range batches {
		spawnThenJoinAll(batch)
	}
	return each(start, batches*batch)
}

func spawnAll(count int) figures {
	spawnThenJoinAll(count)
	start := time.Now()
	spawnThenJoinAll(count)
	return each(start, count)
}

func yields(goroutines, count int) figures {
	times := max(count/goroutines, 1)
	var arrived, finished sync.WaitGroup
	open := make(chan struct{})
	arrived.Add(goroutines)
	finished.Add(goroutines)
	for range goroutines {
		go func() {
			arrived.Done()
			<-open
			runtime.Gosched()
			for range times {
				runtime.Gosched()
			}
			finished.Done()
		}()
	}
	arrived.Wait()
	close(open)
	// Behind those that it has woken.
	runtime.Gosched()
	start := time.Now()
	finished.Wait()
	return each(start, goroutines*times)
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

// hold is what is done with the lock held.
func mutex(count int, hold func()) figures {
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
				hold()
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

// The KiB that Linux has as the kernel's stack of each OS thread.
const kernelStack = 16

func memory() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err == nil, "no /proc/self/status")
	sum := 0
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:", "VmPTE:":
			sum += n << 10
		case "Threads:":
			sum += n * kernelStack << 10
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
	others := neighbours - 1
	var arrived, finished sync.WaitGroup
	var measuring atomic.Int64
	open := make(chan struct{})
	latencies := make([]time.Duration, others*count)
	arrived.Add(neighbours)
	finished.Add(neighbours)
	measuring.Store(int64(others))
	for neighbour := range others {
		go func() {
			arrived.Done()
			<-open
			for n := range count {
				start := time.Now()
				time.Sleep(pause)
				latencies[neighbour*count+n] = time.Since(start) - pause
			}
			measuring.Add(-1)
			finished.Done()
		}()
	}
	go func() {
		arrived.Done()
		<-open
		for measuring.Load() > 0 {
			for start := time.Now(); time.Since(start) < slow; {
				spin(1, 100)
			}
			runtime.Gosched()
		}
		finished.Done()
	}()
	arrived.Wait()
	close(open)
	finished.Wait()
	return latencyFigures(latencies)
}
