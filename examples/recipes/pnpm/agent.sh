# What is installed is there, and works.
pnpm run build
pnpm test
cat > src/slug.ts <<'END'
import anyAscii from 'any-ascii'

export function slug(title: string): string {
  return anyAscii(title).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
}
END
cat >> src/slug.test.ts <<'END'

test('what is no letter is left out', () => {
  assert.equal(slug('Crème Brûlée, twice!'), 'creme-brulee-twice')
})
END
pnpm run build
pnpm test
