package cluster

import (
	"fmt"
	"path/filepath"
)

const (
	serviceCIDR    = "10.96.0.0/16"
	firstServiceIP = "10.96.0.1"
)

// controllers is what a cluster of Deployments, StatefulSets, DaemonSets and Jobs needs, and no more: each controller
// costs informers, memory and start time. clusterrole-aggregation gives `view` the right to read metrics.k8s.io.
const controllers = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller," +
	"job-controller,cronjob-controller,endpoints-controller,endpointslice-controller,serviceaccount-controller," +
	"serviceaccount-token-controller,root-ca-certificate-publisher-controller,namespace-controller," +
	"garbage-collector-controller,pod-garbage-collector-controller,disruption-controller," +
	"horizontal-pod-autoscaler-controller,node-lifecycle-controller,taint-eviction-controller," +
	"clusterrole-aggregation-controller,resourcequota-controller,ttl-after-finished-controller," +
	"validatingadmissionpolicy-status-controller"

// auditPolicy records who did what to which object with which outcome, and no bodies. A request is one line at its end;
// a watch is one more at its start.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (s *supervisor) url(scheme, port string) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.ports[port])
}

func (s *supervisor) etcdFlags() []string {
	client, peer := s.url("http", "etcd"), s.url("http", "etcd-peer")
	return []string{
		"--name=minicluster", "--data-dir=" + filepath.Join(s.Dir, "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=minicluster=" + peer,
		"--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=4294967296",
	}
}

func (s *supervisor) apiserverFlags() []string {
	p := s.pki.path
	return []string{
		"--etcd-servers=" + s.url("http", "etcd"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.ports["kube-apiserver"]),
		// Given, because it is otherwise looked up in the routing table, and that fails without a default route.
		"--advertise-address=" + s.NodeIP,
		// Nobody could reach the endpoints that it would publish.
		"--endpoint-reconciler-type=none",
		"--cert-dir=" + filepath.Join(s.Dir, "apiserver"), // else it wants /var/run/kubernetes
		"--tls-cert-file=" + p("apiserver.crt"), "--tls-private-key-file=" + p("apiserver.key"),
		"--client-ca-file=" + p("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--audit-policy-file=" + filepath.Join(s.Dir, "audit-policy.yaml"), "--audit-log-path=" + s.auditLog(),
		// The default rotates at 100 MB, and a reader would lose the first part.
		"--audit-log-maxsize=4096",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p("sa.pub"), "--service-account-signing-key-file=" + p("sa.key"),
		"--kubelet-client-certificate=" + p("apiserver-client.crt"), "--kubelet-client-key=" + p("apiserver-client.key"),
		"--kubelet-certificate-authority=" + p("ca.crt"), "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--proxy-client-cert-file=" + p("front-proxy.crt"), "--proxy-client-key-file=" + p("front-proxy.key"),
		"--requestheader-client-ca-file=" + p("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--profiling=false",
	}
}

// kubeconfigFlags are common to everything that is a client of the API server. Each component has a name of its own in
// the audit log.
func (s *supervisor) kubeconfigFlags(name string) []string {
	k := filepath.Join(s.pki.dir, name+".kubeconfig")
	return []string{"--kubeconfig=" + k, "--authentication-kubeconfig=" + k, "--authorization-kubeconfig=" + k}
}

func (s *supervisor) controllerManagerFlags() []string {
	return append(s.kubeconfigFlags("controller-manager"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.ports["kube-controller-manager"]),
		"--leader-elect=false", "--controllers="+controllers, "--allocate-node-cidrs=false",
		"--root-ca-file="+s.pki.path("ca.crt"), "--service-account-private-key-file="+s.pki.path("sa.key"),
		"--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false",
	)
}

func (s *supervisor) schedulerFlags() []string {
	return append(s.kubeconfigFlags("scheduler"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.ports["kube-scheduler"]),
		"--leader-elect=false", "--profiling=false",
	)
}

func (s *supervisor) metricsServerFlags() []string {
	return append(s.kubeconfigFlags("metrics-server-client"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.ports["metrics-server"]),
		"--tls-cert-file="+s.pki.path("metrics-server.crt"), "--tls-private-key-file="+s.pki.path("metrics-server.key"),
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
		"--kubelet-certificate-authority="+s.pki.path("ca.crt"),
		// 10 s is the least it takes, and then the request timeout must be under 9 s.
		"--metric-resolution=10s", "--kubelet-request-timeout=5s",
	)
}

func (s *supervisor) nodeFlags(name string) []string {
	return []string{
		"--name=" + name, "--dir=" + filepath.Join(s.Dir, name), "--pki=" + s.pki.dir,
		"--runtime=" + s.socket(name), "--node-ip=" + s.NodeIP, fmt.Sprintf("--port=%d", s.ports[name]),
		"--backoff-max=" + s.BackoffMax.String(),
	}
}
