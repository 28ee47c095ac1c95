// Package cluster is the supervisor of a real Kubernetes control plane for tests: it makes keys, starts the components
// as children of one process, hosts the nodes' container runtimes itself, and ends loudly when a component dies.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"minicluster/internal/loopback"
	"minicluster/internal/runtime"
)

// Options say what cluster to start.
type Options struct {
	// Dir is the folder of everything that the cluster writes. It must be absent or empty.
	Dir string
	// BinDir is a folder of component binaries; those not there come from this binary.
	BinDir string
	// NodeIP is the address of the nodes: one of this machine's, not loopback.
	NodeIP string
	// Traces is the folder that relative names of traces start from.
	Traces string
	// Nodes is how many there are, each a real kubelet.
	Nodes int
	// Metrics: metrics-server runs.
	Metrics bool
	// Timeout is how long the start may take.
	Timeout time.Duration
	// BackoffMax is the longest CrashLoopBackOff.
	BackoffMax time.Duration
	// Wipe removes Dir at the end, unless the end is a failure: then its logs are wanted.
	Wipe bool
	// Extra are more flags, by component.
	Extra map[string][]string
	// Programs are the components inside this binary.
	Programs []string
}

// errStopped: somebody asked for the end. That is no failure.
var errStopped = errors.New("stopped")

// maxSocketPath is the longest path of a unix socket that Linux takes. On a node the kubelet makes the longest one.
const (
	maxSocketPath  = 107
	kubeletsSocket = "/node-00/root/pod-resources/kubelet.sock"
	controlSocket  = "/control.sock"
)

// Up starts a cluster, says so on out when it is ready, and stays until the context ends (nil) or a component dies.
func Up(ctx context.Context, o Options, out io.Writer) (err error) {
	begin := time.Now()
	s, err := newSupervisor(o)
	if err != nil {
		return err
	}
	lock, err := lockDir(s.Dir)
	if err != nil {
		return err
	}
	// Last of all, so that who waits for the lock finds nothing alive.
	defer lock.Close()
	defer func() {
		if s.Wipe && err == nil {
			err = os.RemoveAll(s.Dir)
		}
	}()
	defer s.stop()

	stopped, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	context.AfterFunc(ctx, func() { cancel(errStopped) })
	boot, cancelBoot := context.WithTimeout(stopped, s.Timeout)
	defer cancelBoot()
	if err := s.boot(boot); err != nil {
		if errors.Is(err, errStopped) {
			return nil
		}
		return err
	}
	closeControl, err := s.control()
	if err != nil {
		return err
	}
	defer closeControl()
	st := s.state(begin)
	if err := writeState(s.Dir, st); err != nil {
		return err
	}
	defer os.Remove(statePath(s.Dir))
	fmt.Fprintf(out, "ready in %.1f s\nexport KUBECONFIG=%s\n", st.ReadyAfter, st.Kubeconfig)
	return s.watch(ctx)
}

// watch is the life of a cluster that is up.
func (s *supervisor) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.died:
			if !c.dismissed {
				return s.death(c)
			}
		case o := <-s.orders:
			o.done <- o.do()
		}
	}
}

func newSupervisor(o Options) (*supervisor, error) {
	if o.Dir == "" {
		return nil, errors.New("up: --dir is missing\nhint: give a folder that does not exist yet, for example --dir /tmp/mini")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	longest := controlSocket
	if o.Nodes > 0 {
		longest = kubeletsSocket
	}
	if room := maxSocketPath - len(longest); len(dir) > room {
		return nil, fmt.Errorf("--dir %s: %d letters; wanted at most %d, or else its sockets' paths are too long\nhint: use a shorter folder, for example under %s",
			dir, len(dir), room, os.TempDir())
	}
	if o.Nodes < 0 || o.Nodes > loopback.MostNodes {
		return nil, fmt.Errorf("--nodes %d; wanted 0 to %d", o.Nodes, loopback.MostNodes)
	}
	if o.NodeIP == "" {
		o.NodeIP = hostIP()
	}
	if ip := net.ParseIP(o.NodeIP); ip == nil || ip.IsLoopback() {
		return nil, fmt.Errorf("--node-ip %q; wanted an address of this machine that is not loopback\nhint: ip address add 198.18.0.1/32 dev lo", o.NodeIP)
	}
	return &supervisor{Options: o, ports: map[string]int{}, runtimes: map[string]*runtime.Runtime{},
		died: make(chan *child), orders: make(chan order)}, nil
}

// hostIP is the machine's first address that is neither loopback nor link-local: the API server refuses to proxy to
// nodes on those.
func hostIP() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// boot starts the components, each as soon as what it needs is there.
func (s *supervisor) boot(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	etcd := &api{base: s.url("http", "etcd"), http: s.api.http}
	if err := s.start("etcd", "etcd", s.etcdFlags()...); err != nil {
		return err
	}
	if err := s.wait(ctx, "etcd", func() bool { return etcd.ok(ctx, "/health") }); err != nil {
		return err
	}
	if err := s.start("kube-apiserver", "kube-apiserver", s.apiserverFlags()...); err != nil {
		return err
	}
	if err := s.wait(ctx, "kube-apiserver", func() bool { return s.api.ok(ctx, "/readyz") }); err != nil {
		return err
	}
	if err := s.start("kube-controller-manager", "kube-controller-manager", s.controllerManagerFlags()...); err != nil {
		return err
	}
	if err := s.start("kube-scheduler", "kube-scheduler", s.schedulerFlags()...); err != nil {
		return err
	}
	for i := range s.Nodes {
		if err := s.startNode(i); err != nil {
			return err
		}
	}
	if s.Metrics {
		if err := s.startMetrics(ctx); err != nil {
			return err
		}
	}
	for i := range s.Nodes {
		if err := s.wait(ctx, nodeName(i), func() bool { return s.api.nodeReady(ctx, nodeName(i)) }); err != nil {
			return err
		}
	}
	// A pod is refused until its namespace has this.
	if err := s.wait(ctx, "default service account", func() bool {
		return s.api.ok(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
	}); err != nil {
		return err
	}
	if s.Metrics {
		return s.wait(ctx, "metrics API", func() bool { return s.api.ok(ctx, "/apis/metrics.k8s.io/v1beta1") })
	}
	return nil
}

// prepare claims addresses and writes every file that the components read.
func (s *supervisor) prepare() (err error) {
	if s.block, err = loopback.Claim(); err != nil {
		return err
	}
	names := []string{"etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "metrics-server"}
	for i := range s.Nodes {
		names = append(names, nodeName(i))
	}
	for _, n := range names {
		if s.ports[n], err = s.block.Port(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.logs(), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "audit-policy.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	if s.pki, err = newPKI(filepath.Join(s.Dir, "pki"), net.ParseIP(s.NodeIP)); err != nil {
		return err
	}
	server := s.url("https", "kube-apiserver")
	for _, name := range []string{"controller-manager", "scheduler", "metrics-server-client"} {
		if err := s.pki.writeKubeconfig(s.pki.path(name+".kubeconfig"), server, name); err != nil {
			return err
		}
	}
	if err := s.pki.writeKubeconfig(kubeconfigPath(s.Dir), server, "admin"); err != nil {
		return err
	}
	s.api, err = newAPI(server, s.pki.dir, "supervisor")
	return err
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// startNode starts a node: its container runtime inside this process, its kubelet as a child.
func (s *supervisor) startNode(i int) error {
	name := nodeName(i)
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := s.pki.putNode(name, net.ParseIP(s.NodeIP)); err != nil {
		return err
	}
	if err := s.pki.writeKubeconfig(filepath.Join(dir, "kubeconfig"), s.url("https", "kube-apiserver"), name); err != nil {
		return err
	}
	record, err := os.OpenFile(s.record(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	s.records = append(s.records, record)
	r := runtime.New(runtime.Options{NodeIP: s.NodeIP, Pods: s.block.Pods(i), Traces: s.Traces, Record: record})
	if err := r.Listen(s.socket(name)); err != nil {
		return err
	}
	s.runtimes[name] = r
	return s.start(name, "node", s.nodeFlags(name)...)
}

func (s *supervisor) startMetrics(ctx context.Context) error {
	ca, err := os.ReadFile(s.pki.path("ca.crt"))
	if err != nil {
		return err
	}
	if err := s.start("metrics-server", "metrics-server", s.metricsServerFlags()...); err != nil {
		return err
	}
	for path, o := range metricsObjects(ca, s.ports["metrics-server"]) {
		if err := s.api.apply(ctx, path, o); err != nil {
			return err
		}
	}
	return nil
}
