//! What a process does of its own accord, and how it ends when it is told to.

use std::time::Duration;

use tokio::sync::watch;

use super::{Machine, SIGKILLED, Told};

/// What a process does of its own accord.
pub(super) struct Life {
    pub(super) machine: Machine,
    pub(super) id: String,
    pub(super) uid: String,
    pub(super) image: String,
}

impl Life {
    pub(super) async fn live(self, mut told: watch::Receiver<Told>) {
        let dice = &self.machine.inner.dice;
        let warm_up = dice.ms(20, if dice.permille(100) { 30_000 } else { 1_500 });
        // One in five does not listen.
        let stubborn = dice.permille(200);
        let farewell = dice.ms(5, 8_000);
        let own_end = self.image.ends_with(":bad").then(|| dice.ms(100, 5_000));
        let alive = async {
            if !self.image.ends_with(":mute") {
                tokio::time::sleep(warm_up).await;
                self.machine.set_ready(&self.id, &self.uid);
            }
            std::future::pending::<()>().await;
        };
        let code = tokio::select! {
            biased;
            code = ending(&mut told, stubborn, farewell) => code,
            () = sleep(own_end) => 1,
            () = alive => 0,
        };
        self.machine.end(&self.id, &self.uid, code);
    }
}

async fn ending(told: &mut watch::Receiver<Told>, stubborn: bool, farewell: Duration) -> i32 {
    let asked = |told: &Told| *told >= if stubborn { Told::Killed } else { Told::ToEnd };
    let gone = told.wait_for(asked).await.map(|told| *told);
    if gone.is_ok_and(|told| told == Told::ToEnd) {
        tokio::select! {
            biased;
            () = killed(told) => {}
            () = tokio::time::sleep(farewell) => return 0,
        }
    }
    SIGKILLED
}

async fn killed(told: &mut watch::Receiver<Told>) {
    // An error means that the container was removed, which ends this task.
    let _told = told.wait_for(|told| *told == Told::Killed).await.is_ok();
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
