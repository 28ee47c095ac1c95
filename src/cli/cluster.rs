//! Which cluster a command speaks to, and what is said when it does not answer.

use super::{Console, Failure, Problem};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::PathBuf;
use std::time::Duration;

/// How long a server may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The flags by which clusters are chosen, as kubectl has them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClusterArgs {
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or in a pod its own cluster]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; may be repeated [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Vec<String>,
    /// Every context in the kubeconfig
    #[arg(long, conflicts_with = "context")]
    all_contexts: bool,
}

/// The flags by which namespaces are chosen, as kubectl has them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NamespaceArgs {
    /// The namespace [default: the one that the context names]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

impl NamespaceArgs {
    /// The namespace that is meant in a cluster; `None`: all of them.
    pub fn of(&self, cluster: &Cluster) -> Option<String> {
        let named = || self.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
        (!self.all_namespaces).then(named)
    }
}

/// A cluster to speak to. Nothing has been asked of it yet.
#[derive(Clone)]
pub struct Cluster {
    /// The context's name, or `in-cluster`.
    pub context: String,
    /// The namespace that the context names, or `default`.
    pub namespace: String,
    /// The client. It repeats no request by itself: nobody knows whether one that timed out was done.
    pub client: Client,
    /// The authorities that it believes, in DER.
    pub roots: Vec<Vec<u8>>,
    server: String,
}

impl ClusterArgs {
    /// The one cluster that a command works on.
    ///
    /// # Errors
    /// Exit code 2: the kubeconfig cannot be read, has no such context, or several contexts were named.
    pub async fn one(&self) -> Result<Cluster, Failure> {
        match (self.all_contexts, self.context.as_slice()) {
            (false, []) => self.connect(None).await,
            (false, [name]) => self.connect(Some(name)).await,
            _ => Err(Failure::unreadable([Problem::new("several contexts, wanted one")
                .hint("this command works on one cluster; name it with --context")])),
        }
    }

    /// Does `work` in each cluster that was named. One that fails is a warning on standard error, as long as another
    /// answers.
    ///
    /// # Errors
    /// When none answered: the first failure.
    pub async fn each<T>(
        &self,
        console: &mut Console<'_>,
        work: impl AsyncFn(&Cluster) -> Result<T, Failure>,
    ) -> Result<Vec<(String, T)>, Failure> {
        let names: Vec<Option<String>> = if self.all_contexts {
            self.kubeconfig()?.contexts.into_iter().map(|c| Some(c.name)).collect()
        } else if self.context.is_empty() {
            vec![None]
        } else {
            self.context.iter().cloned().map(Some).collect()
        };
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for name in &names {
            let result = match self.connect(name.as_deref()).await {
                Ok(cluster) => work(&cluster).await.map(|value| (cluster.context.clone(), value)),
                Err(failure) => Err(failure),
            };
            match result {
                Ok(value) => done.push(value),
                Err(failure) => failures.push((name, failure)),
            }
        }
        if done.is_empty() {
            let none = || Failure::unreadable([Problem::new("the kubeconfig has no contexts")]);
            return Err(failures.into_iter().next().map_or_else(none, |(_, failure)| failure));
        }
        for (name, failure) in failures {
            writeln!(console.err, "warning: context {} is left out", name.as_deref().unwrap_or_default())?;
            failure.write_to(console.err)?;
        }
        Ok(done)
    }

    async fn connect(&self, context: Option<&str>) -> Result<Cluster, Failure> {
        let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let kubeconfig = self.kubeconfig.is_some() || context.is_some() || std::env::var_os("KUBECONFIG").is_some();
        let (name, mut config) = if in_a_pod && !kubeconfig {
            let config = Config::incluster().map_err(|error| {
                Failure::cluster(
                    Problem::new("the pod's own cluster cannot be found")
                        .because(&error)
                        .hint("give the pod a ServiceAccount and mount its token"),
                )
            })?;
            ("in-cluster".to_owned(), config)
        } else {
            let file = self.kubeconfig()?;
            let name = context.map(str::to_owned).or_else(|| file.current_context.clone()).unwrap_or_default();
            let known: Vec<String> = file.contexts.iter().map(|c| c.name.clone()).collect();
            if !known.contains(&name) {
                return Err(Failure::unreadable([self.no_context(&name, &known)]));
            }
            let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
            let config = Config::from_custom_kubeconfig(file, &options).await;
            (
                name.clone(),
                config.map_err(|error| self.unreadable(&format!("context {name:?} cannot be used"), &error))?,
            )
        };
        config.connect_timeout = Some(CONNECT_WITHIN);
        // kube would repeat any request after a 503 or 504, and of those nobody knows whether they were done.
        config.default_retry = false;
        let roots = config.root_cert.clone().unwrap_or_default();
        let (namespace, server) = (config.default_namespace.clone(), config.cluster_url.to_string());
        let client = Client::try_from(config).map_err(|error| {
            let problem = Problem::new(format!("{}: context {name:?} cannot be used", self.place())).because(&error);
            Failure::unreadable([problem.hint("mend its user's credentials")])
        })?;
        Ok(Cluster { context: name, namespace, client, roots, server })
    }

    fn kubeconfig(&self) -> Result<Kubeconfig, Failure> {
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        read.map_err(|error| self.unreadable("cannot be read", &error))
    }

    /// The kubeconfig, as messages name it.
    fn place(&self) -> String {
        match (&self.kubeconfig, std::env::var("KUBECONFIG")) {
            (Some(path), _) => path.display().to_string(),
            (None, Ok(paths)) if !paths.is_empty() => format!("kubeconfig {paths} ($KUBECONFIG)"),
            _ => "kubeconfig ~/.kube/config".to_owned(),
        }
    }

    fn unreadable(&self, what: &str, error: &KubeconfigError) -> Failure {
        // The first line only: the parser shows the lines around a mistake, and in this file those are credentials.
        let why = match error {
            // Which file it is stands before it.
            KubeconfigError::ReadConfig(cause, _) => cause.to_string(),
            other => other.to_string(),
        };
        let problem = Problem::new(format!("{}: {what}", self.place())).cause(why.lines().next().unwrap_or_default());
        Failure::unreadable([problem.hint("name the file with --kubeconfig or $KUBECONFIG")])
    }

    fn no_context(&self, name: &str, known: &[String]) -> Problem {
        let place = self.place();
        let (what, hint) = if name.is_empty() {
            (format!("{place}: no current context"), "name one with --context".to_owned())
        } else {
            let shown: Vec<&str> = known.iter().take(10).map(String::as_str).collect();
            let more = if known.len() > shown.len() {
                format!(" and {} more", known.len() - shown.len())
            } else {
                String::new()
            };
            (format!("{place}: no context {name:?}"), format!("its contexts are {}{more}", shown.join(", ")))
        };
        Problem::new(what).hint(if known.is_empty() { "it has no contexts".to_owned() } else { hint })
    }
}

impl Cluster {
    /// What to say when the cluster did not do what was asked: it refused, or it was not reached. `doing` completes "cannot
    /// …"; `rights` are those that the caller needs, as `patch leases in namespace probe-tuner`.
    pub fn failure(&self, doing: &str, rights: &str, error: &kube::Error) -> Failure {
        let Cluster { context, server, .. } = self;
        let problem = Problem::new(format!("context {context}: cannot {doing}"));
        Failure::cluster(match error {
            kube::Error::Api(status) => {
                let problem = problem.cause(format!("{} {}: {}", status.code, status.reason, status.message.trim()));
                match status.code {
                    401 => problem.hint("the API server does not know who you are: log in again"),
                    403 => problem.hint(format!("your account needs the right to {rights}")),
                    404 => problem.hint("is it the right cluster, and is probe-tuner installed there? `kubectl apply -k deploy/manifests` installs it"),
                    429 | 500..=599 => problem.hint("the API server is in trouble: try again later"),
                    _ => problem,
                }
            }
            other => {
                problem.because(other).hint(format!("is {server} the right address, and can it be reached from here?"))
            }
        })
    }
}

/// Runs a command's asynchronous part on this thread.
///
/// # Errors
/// Those of `work`, and exit code 1 when the system gives no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::ours(Problem::new("cannot start").because(&error)))?.block_on(work)
}
