# It begins in the product, with the repository around it.
node --test
cat > slug.js <<'END'
import { plain } from '@example/letters'

export function slug(title) {
  return plain(title).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
}
END
cat >> slug.test.js <<'END'

test('what is no letter is left out', () => {
  assert.equal(slug('Crème Brûlée, twice!'), 'creme-brulee-twice')
})
END
node --test
# Another team's package is not its own to change: this is dropped.
echo '// changed' >> ../letters/letters.js
