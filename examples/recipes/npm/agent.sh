# What is installed is there, and works; what is not can be had.
npx --no eslint .
node --test
npm install --save-exact any-ascii@0.3.3
cat > slug.js <<'END'
import anyAscii from 'any-ascii'

export function slug(title) {
  return anyAscii(title).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
}
END
cat >> test/slug.test.js <<'END'

test('what is no letter is left out', () => {
  assert.equal(slug('Crème Brûlée, twice!'), 'creme-brulee-twice')
})
END
npx --no eslint .
node --test
