//! The smallest permanent service: it says a message again and again.

use tcs_service::prelude::*;

config! {
    /// What hello_world says, and how often.
    struct HelloConfig {
        /// What it says.
        message: String = "Hello, world!".to_owned(),
        /// Time from one greeting to the next.
        interval: TimeSpan = TimeSpan::from_secs(5),
    }
}

struct HelloWorld;

impl Service for HelloWorld {
    type Config = HelloConfig;

    async fn run(&mut self, ctx: Context<Self>) -> Result<()> {
        while ctx.sleep(ctx.config().interval).await {
            info!("{}", ctx.config().message);
        }
        Ok(())
    }
}

tcs_service::main!(HelloWorld);
