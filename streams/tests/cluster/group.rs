//! Several instances of one application.

use crate::cluster::{Cluster, LIMIT, counts, often};
use crate::jobs::{word_count, word_count_topics};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_their_state_move_to_a_new_instance_and_back() {
    let cluster = Cluster::start("instances").await;
    word_count_topics(&cluster, 4).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let topology = word_count(&cluster);
    let first = cluster.run(&topology, often()).await;
    let line = |words: &'static str| (None, words, 1);
    cluster.write(&lines, &[line("a b c d e f g h"); 3]).await;
    let all = |count| counts(&["a", "b", "c", "d", "e", "f", "g", "h"].map(|word| (word, count)));
    cluster.wait_for_table(&output, &all(3)).await;

    let second = cluster.run(&topology, often()).await;
    let deadline = std::time::Instant::now() + LIMIT;
    while first.metrics().tasks.len() != 4 || second.metrics().tasks.len() != 4 {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?} and {:?}",
            first.metrics(),
            second.metrics()
        );
        tokio::task::yield_now().await;
    }
    cluster.write(&lines, &[line("a b c d e f g h"); 2]).await;
    cluster.wait_for_table(&output, &all(5)).await;

    first.close().await.expect("a clean end");
    cluster.write(&lines, &[line("a b c d e f g h")]).await;
    cluster.wait_for_table(&output, &all(6)).await;
    assert_eq!(second.metrics().tasks.len(), 8);
    second.close().await.expect("a clean end");
    cluster.stop().await;
}
