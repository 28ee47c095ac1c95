package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// State is what a cluster that is ready says about itself in DIR/state.json. The file is there as long as it is true.
type State struct {
	PID        int    `json:"pid"`
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	// PKI holds ca.crt, which signs every serving certificate, and NAME.crt and NAME.key of each party.
	PKI      string `json:"pki"`
	AuditLog string `json:"audit_log"`
	NodeIP   string `json:"node_ip"`
	// Ports are those of all components; a kubelet's stands under its node's name.
	Ports      map[string]int `json:"ports"`
	Nodes      []NodeState    `json:"nodes"`
	Started    time.Time      `json:"started"`
	ReadyAfter float64        `json:"ready_after_s"`
}

// NodeState is one node.
type NodeState struct {
	Name string `json:"name"`
	Port int    `json:"port"` // the kubelet's, at the node IP
	Pods string `json:"pods"` // addresses of its pods
	// Record is what its containers saw, one JSON object a line.
	Record string `json:"record"`
}

func statePath(dir string) string      { return filepath.Join(dir, "state.json") }
func kubeconfigPath(dir string) string { return filepath.Join(dir, "kubeconfig") }
func lockPath(dir string) string       { return filepath.Join(dir, "supervisor.pid") }

func (s *supervisor) state(begin time.Time) State {
	st := State{PID: os.Getpid(), Server: s.url("https", "kube-apiserver"), Kubeconfig: kubeconfigPath(s.Dir), PKI: s.pki.dir,
		AuditLog: s.auditLog(), NodeIP: s.NodeIP, Ports: s.ports, Nodes: []NodeState{}, Started: begin, ReadyAfter: time.Since(begin).Seconds()}
	for i := range s.Nodes {
		n := nodeName(i)
		st.Nodes = append(st.Nodes, NodeState{n, s.ports[n], s.block.Pods(i).String(), s.record(n)})
	}
	return st
}

func writeState(dir string, st State) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(statePath(dir), append(b, '\n'), 0o644)
}

// lockDir makes the folder of a new cluster and holds it until the file is closed or the process ends. The lock, not the
// number in the file, says whether a supervisor lives: numbers are used again.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("--dir %s is not empty; wanted a new folder\nhint: minicluster down --wipe --dir %s ends and removes what was there", dir, dir)
	}
	f, err := os.OpenFile(lockPath(dir), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return f, err
}

// downTimeout is how long Down waits for a supervisor that was asked to end. It kills its children at once.
const downTimeout = 20 * time.Second

// Down stops the cluster of a folder and waits for its end. A cluster that does not run is no mistake. With wipe the
// folder goes as well.
func Down(dir string, wipe bool) error {
	if dir == "" {
		return errors.New("down: --dir is missing; wanted the folder given to up")
	}
	if err := stopSupervisor(dir); err != nil {
		return err
	}
	if !wipe {
		return nil
	}
	if _, err := os.Stat(lockPath(dir)); err != nil {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return fmt.Errorf("down --wipe: %s is not the folder of a cluster; nothing was removed", dir)
		}
	}
	return os.RemoveAll(dir)
}

func stopSupervisor(dir string) error {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for deadline, asked := time.Now().Add(downTimeout), false; ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil // nobody holds it: no supervisor lives, and so none of its children
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the supervisor of %s did not end within %s", dir, downTimeout)
		}
		if asked {
			continue
		}
		b, err := os.ReadFile(lockPath(dir))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			continue // it is just being written
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
		asked = true
	}
}
