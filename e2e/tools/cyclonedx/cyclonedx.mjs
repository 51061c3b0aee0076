#!/usr/bin/env node
// cyclonedx FILE: says whether a file is a valid CycloneDX 1.6 bill of materials in JSON, by CycloneDX's own strict schema.
import { readFileSync } from 'node:fs'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
const fault = await validator.validate(readFileSync(process.argv[2], 'utf8'))
if (fault !== null) {
  console.error(JSON.stringify(fault, null, 1))
  process.exit(1)
}
console.log('valid')
