use tcs_manager::systemd::{Change, Systemd};
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let a = std::env::args().nth(1);
    let (s, mut c) = Systemd::connect(a.as_deref()).await.unwrap();
    eprintln!("{} {:#?}", s.version(), s.units().await);
    loop {
        let x = c.next().await;
        println!("{x:?}");
        if x == Change::Closed { break }
    }
}
