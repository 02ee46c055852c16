//! Draws the pictures of this folder from the agent's own tables: `cargo run --example hardware_pages`.

mod card;
mod header;
mod wiring;

fn main() -> std::io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware/pictures");
    for (name, svg) in wiring::pictures().into_iter().chain([card::picture()]) {
        std::fs::write(folder.join(name), svg)?;
    }
    Ok(())
}
