//! Prints the slug of its argument.

fn main() {
    let title = std::env::args().nth(1).unwrap_or_default();
    println!("{}", slug::slug(&title));
}
