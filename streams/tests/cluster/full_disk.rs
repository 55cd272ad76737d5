//! A disk that is full, as far as a process that may not write large files can tell.

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::instance::{Instance, Setup};
use crate::orders::{Enriched, expected_totals, prepare, stored_totals, totals, write_orders};

fn setup(cluster: &Cluster, directory: &TempDir, file_size_limit: Option<u64>) -> Setup {
    Setup {
        bootstrap: cluster.bootstrap(),
        prefix: cluster.name("job"),
        state_dir: Some(directory.path().to_owned()),
        group_instance_id: Some("one".to_owned()),
        runs_by_itself: false,
        num_standby_replicas: 0,
        file_size_limit,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_job_with_store_directory_and_remedy_and_nothing_is_lost() {
    let cluster = Cluster::start("full-disk").await;
    let directory = tempfile::tempdir().expect("a directory");
    prepare(&cluster).await;
    write_orders(&cluster, ORDERS).await;
    let full = Instance::start(&setup(&cluster, &directory, Some(1)));
    let report = full.wait();
    let error = report.error.expect("an error");
    assert!(error.starts_with("store \""), "{error}");
    let path = directory.path().display().to_string();
    assert!(error.contains(&path), "{error}");
    assert!(error.contains("the disk is full"), "{error}");
    assert!(error.contains("hint: free some space"), "{error}");

    let roomy = Instance::start(&setup(&cluster, &directory, None));
    let mut reader = Enriched::new(&cluster);
    reader.wait_for(ORDERS).await;
    let expected = expected_totals(ORDERS);
    totals(&cluster, &expected).await;
    let report = roomy.end();
    assert_eq!((report.stores_wiped, report.error), (0, None));
    reader.read_to_the_end(ORDERS).await;
    stored_totals(&cluster, &expected).await;
    cluster.stop().await;
}

/// Enough that stores have more to write than the limit allows.
const ORDERS: u64 = 20_000;
