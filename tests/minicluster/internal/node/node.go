// Package node runs the kubelet's own code on a node that is not a machine.
//
// Prober, recorder, status manager, pod workers, clients, TLS, authentication and authorization are the kubelet's. What
// touches a machine is replaced: cAdvisor, the container manager, mounts, the OOM score. The container runtime is the
// supervisor's (package runtime), spoken to over CRI as any other.
package node

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/sys/userns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"
)

// settings are the node's flags.
type settings struct {
	name, dir, pki, runtime, ip string
	port, cpus, memoryGi, pods  int
	backoffMax                  time.Duration
	verbosity                   string
}

// Main is the program `node`: one node's kubelet.
func Main() int {
	var s settings
	fs := flag.NewFlagSet("node", flag.ExitOnError)
	fs.StringVar(&s.name, "name", "node-0", "the node's name")
	fs.StringVar(&s.dir, "dir", "", "the node's folder; it holds the kubeconfig")
	fs.StringVar(&s.pki, "pki", "", "folder of ca.crt and NAME-serving.crt and .key")
	fs.StringVar(&s.runtime, "runtime", "", "the container runtime's socket")
	fs.StringVar(&s.ip, "node-ip", "", "the node's address")
	fs.IntVar(&s.port, "port", 10250, "the kubelet's port")
	fs.IntVar(&s.cpus, "cpus", 4, "cores of the node")
	fs.IntVar(&s.memoryGi, "memory-gi", 16, "memory of the node, GiB")
	fs.IntVar(&s.pods, "max-pods", 110, "most pods of the node")
	fs.DurationVar(&s.backoffMax, "backoff-max", 5*time.Minute, "longest CrashLoopBackOff")
	fs.StringVar(&s.verbosity, "v", "2", "log level; 4 shows every check")
	fs.Parse(os.Args[1:]) // ExitOnError

	logs := flag.NewFlagSet("klog", flag.ExitOnError)
	klog.InitFlags(logs)
	if err := logs.Set("v", s.verbosity); err != nil {
		fmt.Fprintf(os.Stderr, "node: --v %q: %v\n", s.verbosity, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, s settings) error {
	endpoint := "unix://" + s.runtime
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()

	flags := options.NewKubeletFlags()
	flags.KubeConfig, flags.HostnameOverride, flags.NodeIP = filepath.Join(s.dir, "kubeconfig"), s.name, s.ip
	flags.RootDirectory, flags.CertDirectory = filepath.Join(s.dir, "root"), filepath.Join(s.dir, "certs")
	c, err := options.NewKubeletConfiguration()
	if err != nil {
		return err
	}
	configure(c, s, endpoint)
	server := &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *c}
	// Before the dependencies are made: some of them look at the gates.
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(c.FeatureGates); err != nil {
		return err
	}
	deps, err := kubeletapp.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return err
	}
	replace(deps, newMachine(s, cri.NewRuntimeServiceClient(conn)))
	return kubeletapp.Run(ctx, server, deps, utilfeature.DefaultFeatureGate)
}

// configure is what a kubelet needs to live without cgroups, mounts, iptables and a machine of its own. All else is the
// default of the real one.
func configure(c *kubeletconfig.KubeletConfiguration, s settings, endpoint string) {
	c.ContainerRuntimeEndpoint = endpoint
	c.Port, c.ReadOnlyPort, c.HealthzPort = int32(s.port), 0, 0
	c.MaxPods = int32(s.pods)
	c.TLSCertFile, c.TLSPrivateKeyFile = filepath.Join(s.pki, s.name+"-serving.crt"), filepath.Join(s.pki, s.name+"-serving.key")
	c.Authentication.Anonymous.Enabled = false
	c.Authentication.Webhook.Enabled = true
	c.Authentication.X509.ClientCAFile = filepath.Join(s.pki, "ca.crt")
	c.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
	c.CrashLoopBackOff.MaxContainerRestartPeriod.Duration = s.backoffMax
	c.CgroupsPerQOS, c.EnforceNodeAllocatable = false, []string{}
	c.FailSwapOn, c.FailCgroupV1 = false, false
	c.LocalStorageCapacityIsolation = false
	c.MakeIPTablesUtilChains = false
	c.EvictionHard = map[string]string{} // no eviction: the machine's numbers are ours
	c.ImageGCHighThresholdPercent, c.ImageGCLowThresholdPercent = 100, 99
	c.ResolverConfig = ""
	c.ClusterDNS = []string{"10.96.0.10"} // without it every sync of a pod is an event, and those use up its event budget
	c.PodLogsDir = filepath.Join(s.dir, "pods")
	c.VolumePluginDir = filepath.Join(s.dir, "volumeplugins")
	c.FeatureGates = map[string]bool{}
	if userns.RunningInUserNS() { // without root (unshare -Ur) /dev/kmsg may stay closed: then no watch for OOM kills
		c.FeatureGates["KubeletInUserNamespace"] = true
	}
}

// replace puts in what does not touch the machine.
func replace(d *kubelet.Dependencies, m *machine) {
	d.CAdvisorInterface = m
	d.ContainerManager = cm.NewStubContainerManager()
	d.OOMAdjuster = oom.NewFakeOOMAdjuster()
	d.Mounter = &mount.FakeMounter{}
	d.Subpather = &subpath.FakeSubpath{}
	d.HostUtil = hostutil.NewFakeHostUtil(nil)
	d.OSInterface = ownFolders{}
}

// ownFolders leaves /var/log/containers alone: the kubelet puts links to the logs there, wherever its own folders are.
type ownFolders struct{ kubecontainer.RealOS }

func (o ownFolders) MkdirAll(path string, perm os.FileMode) error {
	if path == kubelet.ContainerLogsDir {
		return nil
	}
	return o.RealOS.MkdirAll(path, perm)
}

func (o ownFolders) Symlink(oldname, newname string) error {
	if filepath.Dir(newname) == kubelet.ContainerLogsDir {
		return nil
	}
	return o.RealOS.Symlink(oldname, newname)
}
