//! The demo: a product converges, and it is not staged.

use crate::support::Product;

#[test]
fn the_demo_converges_and_leaves_the_checkout_alone() {
    let product = Product::tally();
    let before = product.checkout();
    let ran = product.iterate(&[]).code(0);
    println!("{}", ran.stdout);
    product.assert_untouched(&before);
    product.assert_nothing_alive();
}
