//! A kube-rs reflector of whole Applications, as most programs watch them, for as long as it is let. The
//! kubeconfig is that of `KUBECONFIG`. See `../applications.rs`.

use std::future::ready;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use kube::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), kube::Error> {
    let client = Client::try_default().await?;
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client, "argocd", &resource);
    let writer = Writer::new(resource);
    let store = writer.as_reader();
    watcher(api, watcher::Config::default().page_size(20))
        .reflect(writer)
        .default_backoff()
        .applied_objects()
        .for_each(|_| ready(()))
        .await;
    drop(store);
    Ok(())
}
