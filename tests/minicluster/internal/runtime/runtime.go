// Package runtime is a container runtime for the kubelet: a CRI server whose containers are listeners of this process,
// each pod on a loopback address of its own, behaving as the pod's annotations say (package script).
//
// It takes the kubelet's calls on a unix socket and gives it sandboxes, containers, exits and usage to see. Probes reach
// the containers over TCP as they would reach any other; exec probes come as CRI calls. It starts no process, and what
// it does not do it does not pretend: no exec, attach or port-forward sessions.
package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Options are what a runtime needs to know about its node.
type Options struct {
	// NodeIP is the address of pods on the host network.
	NodeIP string
	// Pods are the addresses of all other pods; every one is local to this machine.
	Pods netip.Prefix
	// Traces is the folder that relative trace names start from.
	Traces string
	// Record gets what the containers saw, one JSON object a line.
	Record io.Writer
}

// Runtime is one node's container runtime.
type Runtime struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer
	Options
	server *grpc.Server
	record *recorder
	traces traceCache

	mu         sync.Mutex // guards what follows and everything inside it
	sandboxes  map[string]*sandbox
	containers map[string]*container
	images     map[string]bool // those that are on the node
}

// New makes a runtime without any pod.
func New(o Options) *Runtime {
	r := &Runtime{Options: o, server: grpc.NewServer(), record: &recorder{w: o.Record},
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, images: map[string]bool{}}
	cri.RegisterRuntimeServiceServer(r.server, r)
	cri.RegisterImageServiceServer(r.server, r)
	return r
}

// Listen serves the kubelet on a unix socket that does not exist yet, until Close.
func (r *Runtime) Listen(socket string) error {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go r.server.Serve(ln)
	return nil
}

// Close ends every container and the server.
func (r *Runtime) Close() {
	r.server.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		r.end(c, killed, "", "")
	}
}

// killed is the exit code of a container that was ended by SIGKILL.
const killed = 137

// clockBase and now give wall times that never jump: the wall time at the start and the monotonic time since.
var clockBase = time.Now()

func now() time.Time { return clockBase.Add(time.Since(clockBase)) }

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// fits tells whether labels hold all of a selector.
func fits(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Version is asked at the kubelet's start.
func (r *Runtime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: "minicluster", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
}

// Status says that the runtime and its network are ready, which makes the node Ready.
func (r *Runtime) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
		{Type: cri.RuntimeReady, Status: true}, {Type: cri.NetworkReady, Status: true}}}}, nil
}

// RuntimeConfig answers the kubelet's question for the cgroup driver; there are no cgroups.
func (r *Runtime) RuntimeConfig(context.Context, *cri.RuntimeConfigRequest) (*cri.RuntimeConfigResponse, error) {
	return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: cri.CgroupDriver_CGROUPFS}}, nil
}

// UpdateRuntimeConfig takes the node's pod CIDR, for which there is no use here.
func (r *Runtime) UpdateRuntimeConfig(context.Context, *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

// errNoAddress cannot happen while a node takes fewer pods than it has addresses.
var errNoAddress = errors.New("no free pod address")

func (r *Runtime) freeAddress() (netip.Addr, error) {
	used := map[netip.Addr]bool{}
	for _, b := range r.sandboxes {
		if b.ready {
			used[b.ip] = true
		}
	}
	for ip := r.Pods.Addr().Next(); r.Pods.Contains(ip); ip = ip.Next() {
		if !used[ip] {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w in %s", errNoAddress, r.Pods)
}
