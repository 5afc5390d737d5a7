// Goroutines: the program of the Go peer.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

type figures = map[string]any

func main() {
	raiseDescriptorLimit()
	switch {
	case len(os.Args) == 5 && os.Args[1] == "run":
		count, workers := number(os.Args[3]), number(os.Args[4])
		runtime.GOMAXPROCS(workers)
		line, _ := json.Marshal(work(os.Args[2], count))
		fmt.Println(string(line))
	case len(os.Args) == 4 && os.Args[1] == "serve":
		runtime.GOMAXPROCS(number(os.Args[3]))
		serve(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: PROGRAM run WORK COUNT WORKERS | PROGRAM serve echo|http|framework WORKERS")
		os.Exit(2)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err == nil, "a number is wrong")
	return n
}

func check(ok bool, what string) {
	if !ok {
		fmt.Fprintln(os.Stderr, what)
		os.Exit(1)
	}
}

func raiseDescriptorLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}
