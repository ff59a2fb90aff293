//! The files of `deploy/campaign` do what they promise: their scripts run here, with the binary and few seeds, and the merged
//! report is that of the whole campaign.

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deployed(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/campaign").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

/// An empty folder for the reports of a test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-{test}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the build folder is writable");
    folder
}

/// Runs a shell with the binary on its path.
fn shell(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_raft-sim")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("/bin/sh");
    command.args(args).current_dir(folder).env("PATH", path).env("SEEDS", "0..2").envs(environment.iter().copied());
    command.output().expect("a shell")
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// The whole campaign on one machine, without the wall clock's part.
fn whole(folder: &Path) -> Value {
    let args = ["swarm", "--profile", "all", "--seeds", "0..2", "--coverage", "--format", "json"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_raft-sim")).args(args).current_dir(folder).output().expect("it starts");
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn merged(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("whole.json")).expect("a merged report")).expect("JSON")
}

fn container<'a>(job: &Yaml<'a>) -> Yaml<'a> {
    job["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn the_kubernetes_jobs_run_all_shares_and_merge_them() {
    let (_, text) = deployed("kubernetes.yaml");
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "Job", "Job"]);
    let [_, campaign, merge] = documents.as_slice() else { panic!("three documents") };
    let spec = &campaign["spec"];
    let shares = container(campaign)["env"][0]["value"].as_str().and_then(|shares| shares.parse().ok());
    assert_eq!((spec["completions"].as_integer(), spec["completionMode"].as_str()), (shares, Some("Indexed")));
    let folder = folder("kubernetes");
    let run = |job: &Yaml<'_>, index: &str| {
        let container = container(job);
        assert_eq!(
            (container["command"][0].as_str(), container["command"][1].as_str()),
            (Some("/bin/sh"), Some("-ec"))
        );
        let script =
            container["args"][0].as_str().expect("a script").replace("/reports", &folder.display().to_string());
        shell(&folder, &["-ec", &script], &[("SHARES", "2"), ("JOB_COMPLETION_INDEX", index)])
    };
    assert_done(&run(campaign, "0"));
    assert_done(&run(campaign, "1"));
    let output = run(merge, "0");
    assert_done(&output);
    assert_eq!(merged(&folder), whole(&folder));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("PASS swarm-all  2 runs") && text.contains("\ntrace hash "), "{text}");
}

#[test]
fn the_slurm_array_runs_all_shares_and_its_second_script_merges_them() {
    let folder = folder("slurm");
    let run = |name: &str, task: &str| {
        let (path, _) = deployed(name);
        let task = [("SLURM_ARRAY_TASK_ID", task), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_CPUS_PER_TASK", "1")];
        let reports = folder.display().to_string();
        shell(&folder, &[&path.display().to_string()], &[task.as_slice(), &[("REPORTS", &reports)]].concat())
    };
    assert_done(&run("slurm.sh", "0"));
    assert_done(&run("slurm.sh", "1"));
    assert_done(&run("slurm-merge.sh", "0"));
    assert_eq!(merged(&folder), whole(&folder));
}
