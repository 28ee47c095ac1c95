package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"minicluster/internal/script"
)

// portsAnnotation is where the kubelet tells the runtime a container's ports.
const portsAnnotation = "io.kubernetes.container.ports"

type containerPort struct {
	Name          string `json:"name"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
}

// container is one start of a container of a pod: the kubelet makes a new one for each.
type container struct {
	id                         string
	box                        *sandbox
	cfg                        *cri.ContainerConfig
	play                       *script.Play
	base                       time.Time // where the clocks of the play begin: the start, or when it was replaced
	checks                     int       // since base
	cpuBefore                  uint64    // CPU nanoseconds used before base
	cfsBefore                  [2]uint64 // CFS periods before base, and throttled ones
	state                      cri.ContainerState
	created, started, finished time.Time
	code                       int32
	reason, message            string
	work                       *workload     // nil before the start
	done                       chan struct{} // closed at the end of a started container
}

func (c *container) name() string { return c.cfg.Metadata.Name }
func (c *container) start() int   { return int(c.cfg.Metadata.Attempt) }

// event begins a line of the record.
func (c *container) event(kind string, at time.Time) event {
	return event{"ev": kind, "pod": c.box.pod(), "container": c.name(), "attempt": c.start(), "id": c.id, "t": unix(at)}
}

// CreateContainer reads the container's script: one that cannot be read shows in the pod's status.
func (r *Runtime) CreateContainer(_ context.Context, q *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.sandboxes[q.PodSandboxId]
	if b == nil {
		return nil, status.Errorf(codes.NotFound, "sandbox %s", q.PodSandboxId)
	}
	meta := q.Config.Metadata
	behaviour, err := b.behaviour(meta.Name, int(meta.Attempt))
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "annotation %s%s: %v", script.AnnotationPrefix, meta.Name, err)
	}
	play, err := r.prepare(behaviour)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "annotation %s%s: %v", script.AnnotationPrefix, meta.Name, err)
	}
	c := &container{id: newID(), box: b, cfg: q.Config, play: play, state: cri.ContainerState_CONTAINER_CREATED, created: now()}
	r.containers[c.id] = c
	return &cri.CreateContainerResponse{ContainerId: c.id}, nil
}

// prepare reads a behaviour's trace.
func (r *Runtime) prepare(b script.Behaviour) (*script.Play, error) {
	p := &script.Play{Behaviour: b}
	if b.Trace == "" {
		return p, nil
	}
	path := b.Trace
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Traces, path)
	}
	t, err := r.traces.load(path)
	p.Recording = t
	return p, err
}

// StartContainer opens the container's ports and sets its clocks going.
func (r *Runtime) StartContainer(_ context.Context, q *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, status.Errorf(codes.NotFound, "container %s", q.ContainerId)
	}
	var ports []containerPort
	if text := c.cfg.Annotations[portsAnnotation]; text != "" {
		if err := json.Unmarshal([]byte(text), &ports); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "annotation %s: %v", portsAnnotation, err)
		}
	}
	ip := r.NodeIP
	if c.box.ip.IsValid() {
		ip = c.box.ip.String()
	}
	c.started, c.state, c.done = now(), cri.ContainerState_CONTAINER_RUNNING, make(chan struct{})
	c.base = c.started
	w := newWorkload(r, c, ip, ports)
	c.work = w
	if d := c.play.ListenAfter; d > 0 {
		time.AfterFunc(seconds(d), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if err := w.listen(); err != nil {
				r.end(c, 1, "Error", err.Error())
			}
		})
	} else if err := w.listen(); err != nil {
		r.end(c, 128, "StartError", err.Error())
		return nil, status.Error(codes.Unknown, err.Error())
	}
	r.endByScript(c)
	c.log("started")
	e := c.event("start", c.started)
	e["ip"] = ip
	r.record.put(e)
	return &cri.StartContainerResponse{}, nil
}

// endByScript sets the timers of the container's own end: the exit that its script names, and the kernel's OOM kill at
// the moment when it uses more memory than its limit. They are void if the script or the limit has changed meanwhile.
func (r *Runtime) endByScript(c *container) {
	play, limit := c.play, c.memoryLimit()
	after := func(at float64, code int32, reason, message string) {
		time.AfterFunc(max(seconds(at)-now().Sub(c.base), 0), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if c.play == play && c.memoryLimit() == limit {
				r.end(c, code, reason, message)
			}
		})
	}
	if e := play.Exit; e != nil {
		after(e.At, e.Code, e.Reason, e.Message)
	}
	if at, ever := play.Exceeds(limit); ever {
		after(at, killed, "OOMKilled", "")
	}
}

// memoryLimit is in bytes; 0: none.
func (c *container) memoryLimit() int64 {
	return c.cfg.GetLinux().GetResources().GetMemoryLimitInBytes()
}

// end is the death of a container, if it lives. The caller holds the lock.
func (r *Runtime) end(c *container, code int32, reason, message string) {
	if c.state != cri.ContainerState_CONTAINER_RUNNING {
		return
	}
	if reason == "" { // as containerd has it
		reason = "Error"
		if code == 0 {
			reason = "Completed"
		}
	}
	c.work.close()
	c.state, c.finished, c.code, c.reason, c.message = cri.ContainerState_CONTAINER_EXITED, now(), code, reason, message
	close(c.done)
	c.log(fmt.Sprintf("ended with %d (%s)", code, reason))
	e := c.event("end", c.finished)
	e["code"], e["reason"] = code, reason
	r.record.put(e)
}

// StopContainer is SIGTERM, and SIGKILL when the grace period is over first.
func (r *Runtime) StopContainer(ctx context.Context, q *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	r.mu.Lock()
	c := r.containers[q.ContainerId]
	if c == nil || c.state != cri.ContainerState_CONTAINER_RUNNING {
		r.mu.Unlock()
		return &cri.StopContainerResponse{}, nil
	}
	e := c.event("stop", now())
	e["grace_s"] = q.Timeout
	r.record.put(e)
	wait, code := milliseconds(c.play.StopMS), c.play.StopCode
	r.mu.Unlock()
	if grace := time.Duration(q.Timeout) * time.Second; wait > grace {
		wait, code = grace, killed
	}
	select {
	case <-time.After(wait):
	case <-c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(c, code, "", "")
	return &cri.StopContainerResponse{}, nil
}

// RemoveContainer forgets a container.
func (r *Runtime) RemoveContainer(_ context.Context, q *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[q.ContainerId]; c != nil {
		r.end(c, killed, "", "")
		delete(r.containers, q.ContainerId)
	}
	return &cri.RemoveContainerResponse{}, nil
}

// ListContainers is polled by the kubelet every second.
func (r *Runtime) ListContainers(_ context.Context, q *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &cri.ListContainersResponse{}
	f := q.GetFilter()
	for _, c := range r.containers {
		if f.GetId() != "" && f.GetId() != c.id || f.GetPodSandboxId() != "" && f.GetPodSandboxId() != c.box.id ||
			f.GetState() != nil && f.GetState().State != c.state || !fits(c.cfg.Labels, f.GetLabelSelector()) {
			continue
		}
		image := imageID(c.cfg.Image.Image)
		out.Containers = append(out.Containers, &cri.Container{Id: c.id, PodSandboxId: c.box.id, Metadata: c.cfg.Metadata,
			Image: namedImage(c.cfg.Image), ImageRef: image, ImageId: image, State: c.state, CreatedAt: c.created.UnixNano(),
			Labels: c.cfg.Labels, Annotations: c.cfg.Annotations})
	}
	return out, nil
}

// ContainerStatus is where the kubelet learns how a container ended.
func (r *Runtime) ContainerStatus(_ context.Context, q *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, status.Errorf(codes.NotFound, "container %s", q.ContainerId)
	}
	image := imageID(c.cfg.Image.Image)
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Id: c.id, Metadata: c.cfg.Metadata, State: c.state,
		CreatedAt: nano(c.created), StartedAt: nano(c.started), FinishedAt: nano(c.finished),
		ExitCode: c.code, Reason: c.reason, Message: c.message,
		Image: namedImage(c.cfg.Image), ImageRef: image, ImageId: image, Labels: c.cfg.Labels, Annotations: c.cfg.Annotations,
		Mounts: c.cfg.Mounts, LogPath: c.logPath(), Resources: &cri.ContainerResources{Linux: c.cfg.GetLinux().GetResources()}}}, nil
}

// nano is CRI's time: 0 for what has not happened.
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// UpdateContainerResources is an in-place resize.
func (r *Runtime) UpdateContainerResources(_ context.Context, q *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.containers[q.ContainerId]; c != nil && c.cfg.Linux != nil {
		c.cfg.Linux.Resources = q.Linux
		if c.state == cri.ContainerState_CONTAINER_RUNNING {
			r.endByScript(c)
		}
	}
	return &cri.UpdateContainerResourcesResponse{}, nil
}

func (c *container) logPath() string { return filepath.Join(c.box.cfg.LogDirectory, c.cfg.LogPath) }

// log writes a line of the container's output where the kubelet looks for it, in its format. The line is for people: if
// it cannot be written, kubectl logs shows less and nothing else suffers.
func (c *container) log(line string) {
	path := c.logPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s stdout F %s\n", now().Format(time.RFC3339Nano), line)
}

// ReopenContainerLog has nothing to do: each line opens the file anew.
func (r *Runtime) ReopenContainerLog(context.Context, *cri.ReopenContainerLogRequest) (*cri.ReopenContainerLogResponse, error) {
	return &cri.ReopenContainerLogResponse{}, nil
}

// ExecSync answers exec probes. Past the time limit it says DeadlineExceeded, as the runtimes of production do.
func (r *Runtime) ExecSync(ctx context.Context, q *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	r.mu.Lock()
	c := r.containers[q.ContainerId]
	running := c != nil && c.state == cri.ContainerState_CONTAINER_RUNNING
	r.mu.Unlock()
	if !running {
		return nil, status.Errorf(codes.NotFound, "container %s does not run", q.ContainerId)
	}
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.Timeout)*time.Second)
		defer cancel()
	}
	a, answered := c.work.answer(ctx, "exec", "exec:"+strings.Join(q.Cmd, " "), nil)
	switch {
	case !answered && ctx.Err() == context.DeadlineExceeded:
		return nil, status.Errorf(codes.DeadlineExceeded, "failed to exec in container: timeout %ds exceeded", q.Timeout)
	case !answered:
		return nil, status.Error(codes.Unknown, "container not running")
	case a.Status >= 400:
		return &cri.ExecSyncResponse{ExitCode: 1, Stderr: []byte("failed by script")}, nil
	}
	return &cri.ExecSyncResponse{Stdout: []byte("ok")}, nil
}
