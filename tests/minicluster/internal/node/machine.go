package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorv2 "github.com/google/cadvisor/info/v2"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubelettypes "k8s.io/kubelet/pkg/types"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"

	"minicluster/internal/runtime"
)

// The system's own share of the node. metrics-server leaves out a node whose CPU time stands still or that uses no memory.
const (
	systemCores  = 0.1
	systemMemory = 512 << 20
)

// machine stands in for cAdvisor: the size of the node, and as its usage the sum of the containers' and a share of its own.
type machine struct {
	name   string
	cpus   int
	memory uint64
	start  time.Time
	cri    cri.RuntimeServiceClient

	mu   sync.Mutex
	seen map[string]uint64 // CPU time last seen, by container
	used uint64            // CPU time of all containers, those that ended too: a counter never falls
}

var _ cadvisor.Interface = &machine{}

func newMachine(s settings, c cri.RuntimeServiceClient) *machine {
	return &machine{name: s.name, cpus: s.cpus, memory: uint64(s.memoryGi) << 30, start: time.Now(), cri: c, seen: map[string]uint64{}}
}

func (m *machine) Start() error { return nil }

func (m *machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	return &cadvisorapi.MachineInfo{NumCores: m.cpus, MemoryCapacity: m.memory, MachineID: m.name, SystemUUID: m.name, BootID: m.name,
		InstanceID: cadvisorapi.InstanceID(m.name)}, nil
}

func (m *machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{KernelVersion: "minicluster", ContainerOsVersion: "minicluster"}, nil
}

func (m *machine) ContainerInfoV2(name string, _ cadvisorv2.RequestOptions) (map[string]cadvisorv2.ContainerInfo, error) {
	r, err := m.cri.ListContainerStats(context.Background(), &cri.ListContainerStatsRequest{})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	memory := uint64(systemMemory)
	now := make(map[string]uint64, len(r.Stats))
	for _, s := range r.Stats {
		cpu := s.Cpu.UsageCoreNanoSeconds.Value
		m.used += cpu - min(cpu, m.seen[s.Attributes.Id])
		now[s.Attributes.Id] = cpu
		memory += s.Memory.WorkingSetBytes.Value
	}
	m.seen = now
	cpu := m.used + uint64(time.Since(m.start).Seconds()*systemCores*1e9)
	return map[string]cadvisorv2.ContainerInfo{name: {
		Spec: cadvisorv2.ContainerSpec{CreationTime: m.start, HasCpu: true, HasMemory: true, Memory: cadvisorv2.MemorySpec{Limit: m.memory}},
		Stats: []*cadvisorv2.ContainerStats{{Timestamp: time.Now(),
			Cpu:    &cadvisorapi.CpuStats{Usage: cadvisorapi.CpuUsage{Total: cpu}},
			Memory: &cadvisorapi.MemoryStats{Usage: memory, WorkingSet: memory, RSS: memory}}},
	}}, nil
}

// GetRequestedContainersInfo is what the kubelet's own handler makes /metrics/cadvisor of: the machine, and each container
// in a cgroup that is named as kubelets name them.
func (m *machine) GetRequestedContainersInfo(string, cadvisorv2.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	r, err := m.cri.ListContainerStats(context.Background(), &cri.ListContainerStatsRequest{})
	if err != nil {
		return nil, err
	}
	all := map[string]*cadvisorapi.ContainerInfo{"/": {
		ContainerReference: cadvisorapi.ContainerReference{Name: "/"},
		Spec:               cadvisorapi.ContainerSpec{CreationTime: m.start, HasCpu: true, HasMemory: true},
		Stats:              []*cadvisorapi.ContainerStats{{Timestamp: time.Now()}},
	}}
	for _, s := range r.Stats {
		id := s.Attributes.Id
		name := "/kubepods/burstable/pod" + s.Attributes.Labels[kubelettypes.KubernetesPodUIDLabel] + "/" + id
		c := &cadvisorapi.ContainerInfo{
			ContainerReference: cadvisorapi.ContainerReference{Id: id, Name: name, Aliases: []string{id}, Namespace: "containerd"},
			Spec: cadvisorapi.ContainerSpec{CreationTime: m.start, Labels: s.Attributes.Labels, HasCpu: true, HasMemory: true,
				Image: "example.com/" + s.Attributes.Metadata.GetName()},
			Stats: []*cadvisorapi.ContainerStats{{Timestamp: time.Unix(0, s.Cpu.Timestamp),
				Cpu:    cadvisorapi.CpuStats{Usage: cadvisorapi.CpuUsage{Total: s.Cpu.UsageCoreNanoSeconds.Value}},
				Memory: cadvisorapi.MemoryStats{Usage: s.Memory.UsageBytes.Value, WorkingSet: s.Memory.WorkingSetBytes.Value, RSS: s.Memory.RssBytes.Value}}},
		}
		// Without a limit nothing is written there, and the handler leaves the counters out.
		cpu, cfs := &c.Spec.Cpu, &c.Stats[0].Cpu.CFS
		fmt.Sscan(s.Attributes.Annotations[runtime.CFSAnnotation], &cpu.Quota, &cpu.Period, &cfs.Periods, &cfs.ThrottledPeriods)
		cfs.ThrottledTime = cfs.ThrottledPeriods * uint64(50*time.Millisecond)
		all[name] = c
	}
	return all, nil
}

// disk is as good as empty.
func (m *machine) disk() (cadvisorv2.FsInfo, error) {
	n := uint64(1 << 20)
	return cadvisorv2.FsInfo{Timestamp: time.Now(), Device: "/dev/none", Mountpoint: "/", Capacity: 100 << 30, Available: 90 << 30,
		Usage: 10 << 30, Inodes: &n, InodesFree: &n}, nil
}

func (m *machine) ImagesFsInfo(context.Context) (cadvisorv2.FsInfo, error)    { return m.disk() }
func (m *machine) RootFsInfo() (cadvisorv2.FsInfo, error)                     { return m.disk() }
func (m *machine) ContainerFsInfo(context.Context) (cadvisorv2.FsInfo, error) { return m.disk() }
func (m *machine) GetDirFsInfo(string) (cadvisorv2.FsInfo, error)             { return m.disk() }
