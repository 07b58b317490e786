import assert from 'node:assert/strict'
import test from 'node:test'

import { plain } from './letters.js'

test('accents go', () => {
  assert.equal(plain('é'), 'e')
})
