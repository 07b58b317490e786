import assert from 'node:assert/strict'
import test from 'node:test'

import { slug } from './slug.js'

test('words are joined', () => {
  assert.equal(slug('a b'), 'a-b')
})
