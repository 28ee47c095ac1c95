// minicluster runs a real Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, metrics-server, and nodes with the kubelet's own code over a container runtime of ours.
//
// It is one binary and many processes. Started under the name of one of its components (a symlink, or the first
// argument) it is that program; otherwise it is the supervisor, which starts the components as its children.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"minicluster/internal/cluster"
)

const usage = `usage: minicluster VERB [flags]

  up --dir D        start a cluster and stay in the foreground until SIGINT or SIGTERM
  down --dir D      stop the cluster of a folder; with --wipe remove the folder too
  kubeconfig --dir D NAMESPACE/SERVICEACCOUNT
                    write a kubeconfig for a ServiceAccount, with a token for 24 hours, and print its path
  stop, start, restart --dir D COMPONENT
                    kill one component (node-0 is the kubelet of that node), start it again, or both
  script --dir D NAMESPACE/POD/CONTAINER SCRIPT
                    give a running container a new script, from now on
  links DIR         make symlinks etcd, kube-apiserver, kubectl, … to this binary (for KUBEBUILDER_ASSETS)
  PROGRAM           run a program of this binary, with its own flags: %s

minicluster VERB -h shows the flags of a verb.
`

func main() {
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) < 2 {
		printUsage(os.Stderr)
		os.Exit(2)
	}
	verb, rest := os.Args[1], os.Args[2:]
	if run, ok := components[verb]; ok {
		os.Args = os.Args[1:] // cobra, klog and etcd all read os.Args
		os.Exit(run())
	}
	verbs := map[string]func([]string) error{"up": up, "down": down, "kubeconfig": kubeconfig, "script": setScript, "links": links,
		"stop": change("stop"), "start": change("start"), "restart": change("restart")}
	switch run, ok := verbs[verb]; {
	case ok:
		exit(run(rest))
	case slices.Contains([]string{"-h", "--help", "help"}, verb):
		printUsage(os.Stdout)
	default:
		fmt.Fprintf(os.Stderr, "error: unknown verb %q\n\n", verb)
		printUsage(os.Stderr)
		os.Exit(2)
	}
}

func exit(err error) {
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(misuse)):
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// misuse is an error of the command line.
type misuse struct{ error }

func programs() []string { return slices.Sorted(maps.Keys(components)) }

func printUsage(w io.Writer) { fmt.Fprintf(w, usage, strings.Join(programs(), ", ")) }

// parse reads a verb's flags and wants exactly the named arguments after them.
func parse(fs *flag.FlagSet, args []string, names ...string) ([]string, error) {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(os.Stdout)
		fmt.Printf("usage: minicluster %s\n", strings.Join(append([]string{fs.Name(), "[flags]"}, names...), " "))
		fs.PrintDefaults()
		return nil, err
	}
	if err != nil {
		return nil, misuse{fmt.Errorf("%s: %w", fs.Name(), err)}
	}
	if fs.NArg() != len(names) {
		return nil, misuse{fmt.Errorf("%s: %d arguments %q; wanted %d: %s", fs.Name(), fs.NArg(), fs.Args(), len(names), strings.Join(names, " "))}
	}
	return fs.Args(), nil
}

// extraFlags collects --flag COMPONENT=--its-flag=value.
type extraFlags map[string][]string

func (e extraFlags) String() string { return "" }

func (e extraFlags) Set(s string) error {
	name, f, ok := strings.Cut(s, "=")
	if !ok || !strings.HasPrefix(f, "--") {
		return errors.New("wanted COMPONENT=--its-flag=value, for example node-0=--v=4")
	}
	e[name] = append(e[name], f)
	return nil
}

func up(args []string) error {
	extra := extraFlags{}
	o := cluster.Options{Programs: programs(), Extra: extra}
	fs := flag.NewFlagSet("up", flag.ContinueOnError)
	fs.StringVar(&o.Dir, "dir", "", "folder for everything that the cluster writes; absent or empty")
	fs.IntVar(&o.Nodes, "nodes", 3, "nodes, each a real kubelet; 0 for none")
	fs.BoolVar(&o.Metrics, "metrics-server", true, "run metrics-server")
	fs.StringVar(&o.Traces, "traces", ".", "folder that relative names of traces in scripts start from")
	fs.StringVar(&o.BinDir, "bin-dir", os.Getenv("KUBEBUILDER_ASSETS"), "folder of component binaries; those not there come from this binary")
	fs.StringVar(&o.NodeIP, "node-ip", "", "address of the nodes: one of this machine's, not loopback (the first found)")
	fs.DurationVar(&o.BackoffMax, "backoff-max", 5*time.Minute, "longest CrashLoopBackOff")
	fs.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "give up starting after this long")
	fs.BoolVar(&o.Wipe, "wipe", false, "remove the folder at the end, unless that is a failure")
	untilEOF := fs.Bool("until-stdin-closes", false, "end when standard input does, so that the cluster cannot outlive who started it")
	fs.Var(extra, "flag", "COMPONENT=--its-flag=value, one more flag for a component; repeat for more")
	if _, err := parse(fs, args); err != nil {
		return err
	}
	traces, err := filepath.Abs(o.Traces)
	if err != nil {
		return err
	}
	o.Traces = traces
	// Children ask to be killed when the thread that started them ends: this one must stay.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin) // an error is an end, too
			stop()
		}()
	}
	return cluster.Up(ctx, o, os.Stdout)
}

func down(args []string) error {
	fs := flag.NewFlagSet("down", flag.ContinueOnError)
	dir := fs.String("dir", "", "folder of the cluster")
	wipe := fs.Bool("wipe", false, "remove the folder as well")
	if _, err := parse(fs, args); err != nil {
		return err
	}
	return cluster.Down(*dir, *wipe)
}

// change is a verb that does something to one component.
func change(verb string) func([]string) error {
	return func(args []string) error {
		fs := flag.NewFlagSet(verb, flag.ContinueOnError)
		dir := fs.String("dir", "", "folder of the cluster")
		a, err := parse(fs, args, "COMPONENT")
		if err != nil {
			return err
		}
		return cluster.Change(*dir, verb, a[0])
	}
}

func kubeconfig(args []string) error {
	fs := flag.NewFlagSet("kubeconfig", flag.ContinueOnError)
	dir := fs.String("dir", "", "folder of the cluster")
	a, err := parse(fs, args, "NAMESPACE/SERVICEACCOUNT")
	if err != nil {
		return err
	}
	path, err := cluster.Account(*dir, a[0])
	if err == nil {
		fmt.Println(path)
	}
	return err
}

func setScript(args []string) error {
	fs := flag.NewFlagSet("script", flag.ContinueOnError)
	dir := fs.String("dir", "", "folder of the cluster")
	a, err := parse(fs, args, "NAMESPACE/POD/CONTAINER", "SCRIPT")
	if err != nil {
		return err
	}
	return cluster.Script(*dir, a[0], a[1])
}

// links makes what KUBEBUILDER_ASSETS wants: a folder with a file for each program. The node is ours alone.
func links(args []string) error {
	a, err := parse(flag.NewFlagSet("links", flag.ContinueOnError), args, "DIR")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(a[0], 0o755); err != nil {
		return err
	}
	for _, name := range programs() {
		link := filepath.Join(a[0], name)
		if old, err := os.Readlink(link); name == "node" || err == nil && old == self {
			continue
		}
		if err := os.Symlink(self, link); err != nil {
			return err
		}
	}
	return nil
}
