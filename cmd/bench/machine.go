package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// lookAround says where the run is made. What cannot be found out stays empty.
func lookAround(ctx context.Context) machine {
	m := machine{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), Cores: runtime.NumCPU(),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), LoadBefore: loadAverage(),
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Revision = string(bytes.TrimSpace(out))
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path) //nolint:gosec // G304: files of /proc
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// loadAverage is the number of processes that wanted to run, over the last
// one, five and fifteen minutes.
func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	const averages = 3
	return strings.Join(fields[:min(averages, len(fields))], ", ")
}

// syncTime is how long the disk takes to make a page durable, which bounds a
// store that records as it goes.
func syncTime(dir string) (d time.Duration, err error) {
	const times = 40
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	page := make([]byte, 4<<10)
	began := time.Now()
	for range times {
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / times, nil
}

// profileMissed takes a profile of every contender that has not reached its
// bar, so that the reader sees what is left.
func (s *suite) profileMissed(ctx context.Context) error {
	for _, b := range s.results.Bars() {
		if !b.Reached.Measured || b.Met() || b.of == nil || !s.wants(b.of.work.Part) {
			continue
		}
		s.say("Taking a profile: %s", b.Work)
		file := filepath.Join(s.dir, fmt.Sprintf("profile-%d.pprof", len(s.results.Profiles)))
		if err := s.profile(ctx, *b.of, file); err != nil {
			return err
		}
		top, err := topOf(ctx, file)
		if err != nil {
			return err
		}
		s.results.Profiles = append(s.results.Profiles, profile{Part: b.of.work.Part, Of: b.Work, Text: top})
	}
	return nil
}

// profile has the contender do its work once more.
func (s *suite) profile(ctx context.Context, c contest, file string) error {
	one := spec{Kind: kindServer}
	if c.heap {
		one.HeapProfile = file
	} else {
		one.Profile = file
	}
	switch c.contender {
	case wholeCampaign, campaignUnderAPI:
		return s.profileServer(ctx, c, one)
	default:
		mailing := s.specOf(c.work, kind(c.contender))
		mailing.Profile = file
		_, err := compete(ctx, mailing)
		return err
	}
}

func (s *suite) profileServer(ctx context.Context, c contest, one spec) error {
	env := s.embedded(c.work.Contacts)
	if c.work.Part == partDynamo {
		env = s.dynamoEnv
	}
	cmd, err := command(ctx, one)
	if err != nil {
		return err
	}
	running, err := startServer(ctx, cmd, env)
	if err != nil {
		return err
	}
	if c.contender == campaignUnderAPI {
		_, _, err = running.underLoad(ctx, c.work.Contacts)
	} else {
		_, err = running.campaign(ctx, letterTo(c.work.Attachment), c.work.Contacts, nil)
	}
	return errors.Join(err, running.stop())
}

// telling are the functions that a profile shows: Postern's, the stores', and
// what costs by itself. The others' costs are their callers'.
const telling = `postern/|main\.|bbolt|dynamodb\.\(\*Client\)\.[A-Z]|Syscall6|gcBgMarkWorker$|mallocgc$|sha256`

// topOf is what a profile has most of, by what it calls as well.
func topOf(ctx context.Context, file string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=30", "-show="+telling, file).CombinedOutput() //nolint:gosec // G204: a file of this run
	if err != nil {
		return "", fmt.Errorf("go tool pprof: %w: %s", err, out)
	}
	return string(out), nil
}
