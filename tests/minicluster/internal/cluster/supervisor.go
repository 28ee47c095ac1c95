package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"minicluster/internal/loopback"
	"minicluster/internal/runtime"
)

// child is one component, running.
type child struct {
	name, program string
	flags         []string // without those of Options.Extra
	cmd           *exec.Cmd
	done          chan struct{}
	err           error // valid once done is closed
	// dismissed: its end is our wish and no news. Written and read by the main loop only.
	dismissed bool
}

// supervisor holds everything of one cluster that lives: the components, the nodes' runtimes, the claimed addresses.
// All of it ends with the process, whatever ends the process.
type supervisor struct {
	Options
	pki      *pki
	api      *api
	block    *loopback.Block
	ports    map[string]int
	runtimes map[string]*runtime.Runtime // by node
	records  []io.Closer
	children []*child
	died     chan *child
	orders   chan order
}

func (s *supervisor) logs() string              { return filepath.Join(s.Dir, "logs") }
func (s *supervisor) log(name string) string    { return filepath.Join(s.logs(), name+".log") }
func (s *supervisor) auditLog() string          { return filepath.Join(s.Dir, "audit.log") }
func (s *supervisor) socket(node string) string { return filepath.Join(s.Dir, node, "cri.sock") }
func (s *supervisor) record(node string) string { return filepath.Join(s.Dir, node, "record.jsonl") }
func (s *supervisor) find(name string) *child {
	i := slices.IndexFunc(s.children, func(c *child) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return s.children[i]
}

// start runs a component under its own name: a program of BinDir, or this binary, which is every component by name.
//
// It is called on the main thread only: children ask to be killed when the thread that started them ends.
func (s *supervisor) start(name, program string, flags ...string) error {
	path := filepath.Join(s.BinDir, program)
	if _, err := os.Stat(path); s.BinDir == "" || err != nil {
		if !slices.Contains(s.Programs, program) {
			return fmt.Errorf("no %s: not in this binary, and not in --bin-dir %q", program, s.BinDir)
		}
		if path, err = os.Executable(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(s.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	args := append(append([]string{program}, flags...), s.Extra[name]...)
	cmd := &exec.Cmd{
		Path: path, Args: args, Env: environment(os.Environ()), Dir: s.Dir, Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	fmt.Fprintf(log, "# %s\n", strings.Join(args, " "))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, program: program, flags: flags, cmd: cmd, done: make(chan struct{})}
	s.children = append(s.children, c)
	go func() {
		c.err = cmd.Wait()
		close(c.done)
		s.died <- c
	}()
	return nil
}

// environment leaves out what would change the components behind our back: proxies (nodes are not on loopback, so
// NO_PROXY seldom covers them), etcd's flags by variable, and a kubeconfig.
func environment(all []string) (env []string) {
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		if strings.HasSuffix(name, "_PROXY") || strings.HasPrefix(name, "ETCD_") || name == "KUBECONFIG" {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// wait polls until ready. It gives up when the context ends, and when a component dies.
func (s *supervisor) wait(ctx context.Context, what string, ready func() bool) error {
	for !ready() {
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); errors.Is(cause, errStopped) {
				return errStopped
			}
			return fmt.Errorf("%s was not ready within %s\nhint: the components' logs are in %s", what, s.Timeout, s.logs())
		case c := <-s.died:
			if !c.dismissed {
				return s.death(c)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// lastLines is how much of a dead component's log is shown.
const lastLines = 20

// death is the error for a component that ended without being asked to: with the end of its log, which tells why.
func (s *supervisor) death(c *child) error {
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	tail, err := tailOf(s.log(c.name), lastLines)
	if err != nil {
		tail = err.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); the last lines of %s:\n%s", c.name, how, s.log(c.name), tail)
}

// tailOf is the last n lines of a file, each shortened to a screenful.
func tailOf(path string, n int) (string, error) {
	const window, longest = 64 << 10, 2000
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(bytes.TrimRight(b, "\n")), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		if len(l) > longest {
			lines[i] = l[:longest] + " …"
		}
	}
	return "  " + strings.Join(lines, "\n  "), nil
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// dismiss tells a component to end. Its number is its own until the end has been waited for, and not a moment longer.
func (c *child) dismiss() {
	c.dismissed = true
	if !c.ended() {
		// An error means that it ends just now.
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// kill ends a component and waits for its end.
func (s *supervisor) kill(c *child) {
	c.dismiss()
	<-c.done
}

// stop ends everything. Nothing gets a goodbye: the data folder is scratch, and no component has processes or files
// elsewhere that it would have to tidy up.
func (s *supervisor) stop() {
	for _, c := range s.children {
		c.dismiss()
	}
	for _, c := range s.children {
		<-c.done
	}
	for _, r := range s.runtimes {
		r.Close()
	}
	for _, f := range s.records {
		f.Close()
	}
	if s.block != nil {
		s.block.Release()
	}
}
