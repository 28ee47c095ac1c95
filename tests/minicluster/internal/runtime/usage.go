package runtime

import (
	"context"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func value(n uint64) *cri.UInt64Value { return &cri.UInt64Value{Value: n} }

// used is a container's CPU time so far (nanoseconds, never falling) and memory now (bytes), by its script.
func (c *container) used(t time.Time) (cpuNS, memory uint64) {
	cpuNS, memory = c.play.Used(t.Sub(c.base).Seconds(), c.traceClock(c.base))
	return c.cpuBefore + cpuNS, memory
}

// CFSAnnotation, on a container's stats, holds what CRI has no field for and cAdvisor reads from the cgroup: quota and
// period of its CPU limit in microseconds, CFS periods so far, and those in which it stood still. Absent without a limit.
const CFSAnnotation = "minicluster.probe-tuner.io.cfs"

// cfs is how many CFS periods a container has had so far and in how many of them it stood still, by its script.
func (c *container) cfs(t time.Time) (periods, throttled uint64) {
	periods, throttled = c.play.CFS(t.Sub(c.base).Seconds())
	return c.cfsBefore[0] + periods, c.cfsBefore[1] + throttled
}

// annotations are the container's, and its CFS counters.
func (c *container) annotations(t time.Time) map[string]string {
	limit := c.cfg.GetLinux().GetResources()
	if limit.GetCpuQuota() <= 0 {
		return c.cfg.Annotations
	}
	all := maps.Clone(c.cfg.Annotations)
	if all == nil {
		all = map[string]string{}
	}
	periods, throttled := c.cfs(t)
	all[CFSAnnotation] = fmt.Sprintln(limit.GetCpuQuota(), limit.GetCpuPeriod(), periods, throttled)
	return all
}

// stats is what a running container uses, by its script. The caller holds the lock.
func (r *Runtime) stats(c *container) *cri.ContainerStats {
	t := now()
	cpu, memory := c.used(t)
	at := t.UnixNano()
	return &cri.ContainerStats{
		Attributes: &cri.ContainerAttributes{Id: c.id, Metadata: c.cfg.Metadata, Labels: c.cfg.Labels, Annotations: c.annotations(t)},
		Cpu:        &cri.CpuUsage{Timestamp: at, UsageCoreNanoSeconds: value(cpu)},
		Memory:     &cri.MemoryUsage{Timestamp: at, WorkingSetBytes: value(memory), UsageBytes: value(memory), RssBytes: value(memory)},
		WritableLayer: &cri.FilesystemUsage{Timestamp: at, FsId: &cri.FilesystemIdentifier{Mountpoint: "/"},
			UsedBytes: value(4096), InodesUsed: value(1)},
	}
}

// ListContainerStats is what /metrics/resource is made of.
func (r *Runtime) ListContainerStats(_ context.Context, q *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &cri.ListContainerStatsResponse{}
	f := q.GetFilter()
	for _, c := range r.containers {
		if c.state == cri.ContainerState_CONTAINER_RUNNING && (f.GetId() == "" || f.GetId() == c.id) &&
			(f.GetPodSandboxId() == "" || f.GetPodSandboxId() == c.box.id) {
			out.Stats = append(out.Stats, r.stats(c))
		}
	}
	return out, nil
}

func (r *Runtime) sandboxStats(b *sandbox) *cri.PodSandboxStats {
	t := now().UnixNano()
	l := &cri.LinuxPodSandboxStats{}
	var cpu, memory uint64
	for _, c := range r.containers {
		if c.box == b && c.state == cri.ContainerState_CONTAINER_RUNNING {
			st := r.stats(c)
			cpu, memory = cpu+st.Cpu.UsageCoreNanoSeconds.Value, memory+st.Memory.WorkingSetBytes.Value
			l.Containers = append(l.Containers, st)
		}
	}
	l.Cpu = &cri.CpuUsage{Timestamp: t, UsageCoreNanoSeconds: value(cpu)}
	l.Memory = &cri.MemoryUsage{Timestamp: t, WorkingSetBytes: value(memory), UsageBytes: value(memory)}
	return &cri.PodSandboxStats{Linux: l, Attributes: &cri.PodSandboxAttributes{Id: b.id, Metadata: b.cfg.Metadata,
		Labels: b.cfg.Labels, Annotations: b.cfg.Annotations}}
}

// PodSandboxStats is a pod's usage.
func (r *Runtime) PodSandboxStats(_ context.Context, q *cri.PodSandboxStatsRequest) (*cri.PodSandboxStatsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.sandboxes[q.PodSandboxId]
	if b == nil {
		return nil, status.Errorf(codes.NotFound, "sandbox %s", q.PodSandboxId)
	}
	return &cri.PodSandboxStatsResponse{Stats: r.sandboxStats(b)}, nil
}

// ListPodSandboxStats is the usage of all pods.
func (r *Runtime) ListPodSandboxStats(context.Context, *cri.ListPodSandboxStatsRequest) (*cri.ListPodSandboxStatsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &cri.ListPodSandboxStatsResponse{}
	for _, b := range r.sandboxes {
		if b.ready {
			out.Stats = append(out.Stats, r.sandboxStats(b))
		}
	}
	return out, nil
}
