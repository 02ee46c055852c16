//! Draws the pictures of this folder, and the LEDs of the fleet page, from the agent's own tables:
//! `cargo run --example hardware_pages`.

mod card;
mod header;
mod indications;
mod wiring;

fn main() -> std::io::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("hardware/pictures");
    for (name, svg) in wiring::pictures().into_iter().chain([card::picture()]) {
        std::fs::write(folder.join(name), svg)?;
    }
    std::fs::write(root.join(indications::PATH), indications::table())
}
