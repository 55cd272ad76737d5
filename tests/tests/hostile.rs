//! A broker under attack, for a short while. For longer:
//! `cargo run --release -p moldau-tests --bin hostile -- --minutes 10`.

use std::path::Path;
use std::time::Duration;

use moldau_tests::Seed;
use moldau_tests::hostile::Attack;
use rand::RngExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_under_attack_lives_serves_its_normal_client_and_stays_small() -> anyhow::Result<()>
{
    let attack = Attack {
        seed: Seed::fresh().random().random(),
        frames: 600,
        duration: Duration::from_secs(3),
        memory_limit_kib: 256 * 1024,
    };
    let outcome = attack
        .run(Path::new(env!("CARGO_BIN_EXE_broker-process")))
        .await?;
    assert!(outcome.answered > 0 && outcome.records > 0, "{outcome:?}");
    Ok(())
}
