package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// confine puts a process into a control group of its own with so much memory,
// where this machine lets us make one, so that the kernel kills it beyond. It
// says what the group has had at most; "" where there is no group.
func confine(t *testing.T, p *process, octets int64) (peak func() string) {
	t.Helper()
	pid := p.cmd.Process.Pid
	name := fmt.Sprintf("postern-test-%d", pid)
	for _, version := range []struct{ root, limit, peak string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"},
		{"/sys/fs/cgroup", "memory.max", "memory.peak"},
	} {
		if _, err := os.Stat(filepath.Join(version.root, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(version.root, name)
		if os.Mkdir(group, 0o755) != nil {
			break
		}
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill() // a group that is not empty stays
			_ = p.cmd.Wait()
			_ = os.Remove(group)
		})
		set := func(file, value string) bool {
			return os.WriteFile(filepath.Join(group, file), []byte(value), 0o600) == nil
		}
		if set(version.limit, strconv.FormatInt(octets, 10)) && set("cgroup.procs", strconv.Itoa(pid)) {
			return func() string {
				value, _ := os.ReadFile(filepath.Join(group, version.peak))
				return strings.TrimSpace(string(value))
			}
		}
		break
	}
	return func() string { return "" }
}

// watchMemory looks at a process's anonymous memory (RssAnon) until the end of
// the test, and gives its peak in octets; 0 where there is no /proc.
func watchMemory(t *testing.T, pid int) (peak func() int64) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return func() int64 { return 0 }
	}
	peaks, stop := make(chan int64, 1), make(chan struct{})
	go func() {
		var most int64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peaks <- most
				return
			case <-tick.C:
				most = max(most, rssAnon(pid))
			}
		}
	}()
	return func() int64 { close(stop); return <-peaks }
}

func rssAnon(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kilo, _ := strconv.ParseInt(fields[1], 10, 64)
			return kilo << 10
		}
	}
	return 0
}
