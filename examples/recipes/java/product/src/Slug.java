/** Makes titles into what stands in an address. */
public final class Slug {
  private Slug() {}

  /** Returns the title with hyphens between its words. */
  public static String of(String title) {
    return title.replace(' ', '-');
  }

  public static void main(String[] arguments) {
    System.out.println(of(arguments[0]));
  }
}
