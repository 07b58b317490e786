import { plain } from '@example/letters'

export function slug(title) {
  return plain(title).replaceAll(' ', '-')
}
