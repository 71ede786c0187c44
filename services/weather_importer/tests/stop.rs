//! The importer as a process: what a stop and a hang in the midst of its run look like from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Silence after which a job counts as hanging here.
const WATCHDOG: Duration = Duration::from_secs(1);

/// Starts the importer over `root/in`, with a line that is refused in the first file and a record in the second.
fn start(root: &Path, url: &str) -> Child {
    fs::create_dir(root.join("in")).unwrap();
    let header = "time,temp_c,hum_pct,wind_ms,wind10_ms,wind_dir,press_hpa\n";
    let now = jiff::Timestamp::now();
    for (name, time) in [("a.csv", "no time".to_owned()), ("b.csv", format!("{now:.0}"))] {
        let text = format!("{header}{time},9.3,22,4.7,4.5,12,725.4\n");
        fs::write(root.join("in").join(name), text).unwrap();
    }
    let config = serde_json::json!({
        "nats": {"url": url},
        "services": [{
            "type": "weather_importer",
            "variant": "dev",
            "directory": root.join("in"),
            "watchdog": format!("{}ms", WATCHDOG.as_millis()),
        }],
    });
    fs::write(root.join("services.yaml"), config.to_string()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_weather_importer"))
        .arg(root.join("services.yaml"))
        .env_clear()
        .env("NOTIFY_SOCKET", root.join("notify"))
        .env("STATE_DIRECTORY", root.join("state"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_stop_while_it_waits_for_nats_is_told_with_what_was_done() {
    let root = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(root.path().join("notify")).unwrap();
    // It takes the connection and says nothing, as a frozen server does.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", server.local_addr().unwrap());
    let child = start(root.path(), &url);
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
            break;
        }
    }
    // The wait for NATS is no hang.
    socket.set_read_timeout(Some(WATCHDOG * 2)).unwrap();
    while socket.recv(&mut buffer).is_ok() {}

    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", log(&output));
    assert!(
        log(&output).contains("stopped; read 1, refused 1"),
        "{}",
        log(&output)
    );
}

#[test]
fn a_file_that_does_not_answer_is_a_hang() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("state")).unwrap();
    // Nobody reads this pipe, so that writing the first refused line into it never ends.
    let pipe = Command::new("mkfifo")
        .arg(root.path().join("state/quarantine.jsonl"))
        .status();
    assert!(pipe.unwrap().success());
    let output = start(root.path(), "nats://127.0.0.1:9")
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", log(&output));
    assert!(log(&output).contains("the job hangs"), "{}", log(&output));
}
