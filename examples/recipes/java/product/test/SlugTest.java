final class SlugTest {
  static void check(String title, String expected) {
    String got = Slug.of(title);
    if (!got.equals(expected)) throw new AssertionError(title + ": " + got + ", not " + expected);
  }

  public static void main(String[] arguments) {
    check("a b", "a-b");
  }
}
