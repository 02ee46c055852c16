use super::*;

#[tokio::test]
async fn throwaway() {
    let json = serde_json::to_string_pretty(&fixture::snapshot()).unwrap();
    std::fs::write("/tmp/snapshot.json", json).unwrap();
    let metrics = Metrics::new();
    metrics.observe_sync(0.004, 3);
    metrics.count_command(edge_agent_core::wire::ResultState::Succeeded);
    std::fs::write(
        "/tmp/metrics.txt",
        metrics
            .render(&fixture::snapshot(), metrics::Format::Prometheus)
            .unwrap(),
    )
    .unwrap();
    std::fs::write(
        "/tmp/openmetrics.txt",
        metrics
            .render(&fixture::snapshot(), metrics::Format::OpenMetrics)
            .unwrap(),
    )
    .unwrap();
}
