package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// sampleEvery is how often a process's memory is looked at.
const sampleEvery = 100 * time.Millisecond

// ticksPerSecond is the unit of times in /proc/PID/stat, which Linux has fixed
// at 100 for user space.
const ticksPerSecond = 100

// processCPU is the processor time that a process has used, user and system,
// in steps of 10 ms.
func processCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; the fields are counted behind it.
	_, rest, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	const userTime, systemTime = 11, 12
	if !found || len(fields) <= systemTime {
		return 0, fmt.Errorf("%s is not as proc(5) has it", procPath(pid, "stat"))
	}
	var ticks int64
	for _, f := range [][]byte{fields[userTime], fields[systemTime]} {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", procPath(pid, "stat"), err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// anonymous is the octets of a process's memory that no file stands behind
// (RssAnon): what it really takes of the machine.
func anonymous(pid int) (int64, error) {
	status, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		value, is := bytes.CutPrefix(line, []byte("RssAnon:"))
		if !is {
			continue
		}
		kib, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", procPath(pid, "status"), err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("%s has no RssAnon", procPath(pid, "status"))
}

func procPath(pid int, file string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + file
}

// watchMemory samples a process's memory until the context ends, and then
// gives the largest figure. A process that has ended is sampled no more.
func watchMemory(ctx context.Context, pid int) (peak func() int64) {
	watching, stop := context.WithCancel(ctx)
	done := make(chan int64, 1)
	go func() { done <- peakOf(watching, pid) }()
	return func() int64 {
		stop()
		return <-done
	}
}

func peakOf(ctx context.Context, pid int) (peak int64) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		if now, err := anonymous(pid); err == nil {
			peak = max(peak, now)
		}
		select {
		case <-ctx.Done():
			return peak
		case <-ticker.C:
		}
	}
}
