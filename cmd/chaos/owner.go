package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// errNoOwner: none of the tasks has the connection (any more).
var errNoOwner = errors.New("no task owns the connection")

// ownerOf finds which of the processes owns the local end of a connection on
// loopback, by Linux's /proc.
func ownerOf(local, remote string, pids []int) (int, error) {
	inode, err := inodeOf(local, remote)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if owns(pid, inode) {
			return pid, nil
		}
	}
	return 0, errNoOwner
}

// inodeOf finds the socket. A port alone does not name it: connections to
// several places may have the same one at their local end.
func inodeOf(local, remote string) (string, error) {
	from, err := inTable(local)
	if err != nil {
		return "", err
	}
	to, err := inTable(remote)
	if err != nil {
		return "", err
	}
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", fmt.Errorf("who owns a connection is known on Linux only: %w", err)
	}
	defer func() { _ = table.Close() }()
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[1] == from && fields[2] == to {
			return fields[9], nil
		}
	}
	return "", errNoOwner
}

// inTable is an address as /proc/net/tcp writes it: the octets as a number of
// the machine's order, which is little-endian wherever this runs.
func inTable(address string) (string, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Is4() {
		return "", fmt.Errorf("%s is no IPv4 address with a port", address)
	}
	ip := at.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port()), nil
}

func owns(pid int, inode string) bool {
	dir := filepath.FromSlash(fmt.Sprintf("/proc/%d/fd", pid))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false // it is gone
	}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && link == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}
