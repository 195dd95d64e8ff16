//! The official Graph SDK, unmodified, works against the sandbox: what proves that the emulation is one.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use muster_sandbox::{Sandbox, SandboxOptions, TlsOptions};
    use serde_json::{Value, json};

    const SET_UP: &str = "install Node.js 18 or newer, then run `npm ci --prefix tests/graph-sdk`";

    #[tokio::test]
    async fn the_official_graph_sdk_works_unmodified() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/graph-sdk");
        let installed = folder.join("node_modules/@microsoft/microsoft-graph-client").is_dir();
        assert!(installed, "the Graph SDK is not installed: {SET_UP}");

        let ca_folder = tempfile::tempdir().unwrap();
        let tls = Some(TlsOptions { ca_folder: ca_folder.path().to_owned() });
        let options = SandboxOptions {
            users: 300,
            groups: 20,
            page_size: 45,
            member_slice: 40,
            tls,
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let facts = sandbox.facts();

        let run = tokio::process::Command::from({
            let mut node = Command::new("node");
            node.arg(folder.join("sdk.mjs")).arg(serde_json::to_string(&facts).unwrap());
            node.env("NODE_EXTRA_CA_CERTS", facts.ca_file.as_ref().unwrap());
            // A proxy for the outside world is of no use on loopback.
            for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
                node.env_remove(name);
            }
            node.stdin(Stdio::null());
            node
        })
        .kill_on_drop(true)
        .output();
        let output = tokio::time::timeout(Duration::from_secs(120), run)
            .await
            .expect("the SDK's run ends within two minutes")
            .unwrap_or_else(|error| panic!("node cannot be run ({error}): {SET_UP}"));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the SDK failed\n--- stdout\n{out}\n--- stderr\n{err}");

        let summary: Value = serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out}"));
        let expected = json!({
            "token": true, "users": 300, "changed": 2, "groups": 20, "largestGroup": 300,
            "writes": true, "batch": 2, "expired": 3, "throttled": 2,
        });
        assert_eq!(summary, expected);
        assert_eq!(sandbox.directory().violations(), Vec::<String>::new());
        sandbox.stop().await;
    }
}
