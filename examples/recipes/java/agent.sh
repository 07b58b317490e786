# The compiler works.
make -s test
cat > src/Slug.java <<'END'
import java.text.Normalizer;
import java.util.Locale;

/** Makes titles into what stands in an address. */
public final class Slug {
  private Slug() {}

  /** Returns the title in lower case and ASCII, with a hyphen between two words. */
  public static String of(String title) {
    String plain = Normalizer.normalize(title, Normalizer.Form.NFD).replaceAll("\\p{M}", "");
    return plain.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
  }

  public static void main(String[] arguments) {
    System.out.println(of(arguments[0]));
  }
}
END
sed -i 's|    check("a b", "a-b");|&\n    check("Crème Brûlée, twice!", "creme-brulee-twice");|' test/SlugTest.java
make -s test
