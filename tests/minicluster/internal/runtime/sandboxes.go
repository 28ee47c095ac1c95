package runtime

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"minicluster/internal/script"
)

// sandbox is a pod as the runtime sees it: an address, and the scripts of its containers.
type sandbox struct {
	id      string
	cfg     *cri.PodSandboxConfig
	created time.Time
	ready   bool
	ip      netip.Addr // invalid on the host network
	handler string
	// replaced are scripts that were given by hand while the pod ran, by container.
	replaced map[string]replacement
	// pulls counts the pulls that failed by script, by container whose script it was.
	pulls map[string]int
}

// replacement is a script that counts from a later start of its container.
type replacement struct {
	script script.Script
	first  int
}

func (b *sandbox) pod() string { return b.cfg.Metadata.Namespace + "/" + b.cfg.Metadata.Name }

// behaviour is what a container of the pod does at one of its starts.
func (b *sandbox) behaviour(container string, start int) (script.Behaviour, error) {
	if r, ok := b.replaced[container]; ok {
		return r.script.At(start - r.first), nil
	}
	s, err := script.Parse(b.cfg.Annotations[script.AnnotationPrefix+container])
	if err != nil {
		return script.Behaviour{}, err
	}
	return s.At(start), nil
}

func (b *sandbox) state() cri.PodSandboxState {
	if b.ready {
		return cri.PodSandboxState_SANDBOX_READY
	}
	return cri.PodSandboxState_SANDBOX_NOTREADY
}

// RunPodSandbox gives a pod its address.
func (r *Runtime) RunPodSandbox(_ context.Context, q *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &sandbox{id: newID(), cfg: q.Config, created: now(), ready: true, handler: q.RuntimeHandler,
		replaced: map[string]replacement{}, pulls: map[string]int{}}
	if q.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() != cri.NamespaceMode_NODE {
		ip, err := r.freeAddress()
		if err != nil {
			return nil, status.Error(codes.ResourceExhausted, err.Error())
		}
		b.ip = ip
	}
	r.sandboxes[b.id] = b
	return &cri.RunPodSandboxResponse{PodSandboxId: b.id}, nil
}

// StopPodSandbox kills what still runs in a pod and frees its address.
func (r *Runtime) StopPodSandbox(_ context.Context, q *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopSandbox(q.PodSandboxId)
	return &cri.StopPodSandboxResponse{}, nil
}

func (r *Runtime) stopSandbox(id string) {
	b := r.sandboxes[id]
	if b == nil {
		return
	}
	for _, c := range r.containers {
		if c.box == b {
			r.end(c, killed, "", "")
		}
	}
	b.ready = false
}

// RemovePodSandbox forgets a pod and its containers.
func (r *Runtime) RemovePodSandbox(_ context.Context, q *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopSandbox(q.PodSandboxId)
	for id, c := range r.containers {
		if c.box.id == q.PodSandboxId {
			delete(r.containers, id)
		}
	}
	delete(r.sandboxes, q.PodSandboxId)
	return &cri.RemovePodSandboxResponse{}, nil
}

// PodSandboxStatus is where the kubelet learns a pod's address.
func (r *Runtime) PodSandboxStatus(_ context.Context, q *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.sandboxes[q.PodSandboxId]
	if b == nil {
		return nil, status.Errorf(codes.NotFound, "sandbox %s", q.PodSandboxId)
	}
	st := &cri.PodSandboxStatus{Id: b.id, Metadata: b.cfg.Metadata, State: b.state(), CreatedAt: b.created.UnixNano(),
		Network: &cri.PodSandboxNetworkStatus{}, Labels: b.cfg.Labels, Annotations: b.cfg.Annotations, RuntimeHandler: b.handler,
		Linux: &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: b.cfg.GetLinux().GetSecurityContext().GetNamespaceOptions()}}}
	if b.ip.IsValid() {
		st.Network.Ip = b.ip.String()
	}
	return &cri.PodSandboxStatusResponse{Status: st}, nil
}

// ListPodSandbox is polled by the kubelet every second.
func (r *Runtime) ListPodSandbox(_ context.Context, q *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &cri.ListPodSandboxResponse{}
	f := q.GetFilter()
	for _, b := range r.sandboxes {
		if f.GetId() != "" && f.GetId() != b.id || f.GetState() != nil && f.GetState().State != b.state() ||
			!fits(b.cfg.Labels, f.GetLabelSelector()) {
			continue
		}
		out.Items = append(out.Items, &cri.PodSandbox{Id: b.id, Metadata: b.cfg.Metadata, State: b.state(),
			CreatedAt: b.created.UnixNano(), Labels: b.cfg.Labels, Annotations: b.cfg.Annotations, RuntimeHandler: b.handler})
	}
	return out, nil
}
