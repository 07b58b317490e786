import { slug } from './slug.js'

console.log(slug(process.argv[2]))
