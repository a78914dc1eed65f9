package storetest

import (
	"maps"

	"github.com/c73062ad/oras"
)

// testPredecessors: a manifest is found from its subject, whichever came first.
func testPredecessors(s *suite) {
	subject, unrelated := image("subject"), image("unrelated")
	sbom := referrer("sbom", "application/vnd.example.sbom", subject)
	signature := referrer("signature", "application/vnd.example.signature", sbom)
	s.push(unrelated)
	s.preceded(subject)

	s.push(signature, sbom) // both before their subjects
	s.preceded(subject, sbom)
	s.preceded(sbom, signature)
	s.lacks(subject)

	s.push(subject, sbom) // one of them again
	s.preceded(subject, sbom)

	list := document(oras.MediaTypeImageIndex, "list", oras.Manifest{
		Manifests: []oras.Descriptor{unrelated.Descriptor},
		Subject:   &subject.Descriptor,
	})
	s.push(list)
	s.preceded(subject, sbom, list)

	long := referrer("by SHA-512", "application/vnd.example.sbom", subject).sha512()
	s.push(long)
	s.preceded(subject, sbom, list, long)
	s.remove(long)

	s.remove(sbom)
	s.preceded(subject, list)
	s.preceded(sbom, signature) // though sbom is gone

	s.remove(subject)
	s.preceded(subject, list)

	s.push(sbom)
	s.preceded(subject, sbom, list)
}

// testReferrers: what has a subject is listed with its artifact type and its
// annotations, all of it or that of one type.
func testReferrers(s *suite) {
	const sbomType, signatureType = "application/vnd.example.sbom", "application/vnd.example.signature"
	subject := image("subject")
	s.refers(subject, "")

	one, two := referrer("one", sbomType, subject), referrer("two", sbomType, subject)
	signature := referrer("signature", signatureType, subject)
	byConfig := document(oras.MediaTypeImageManifest, "by config", oras.Manifest{
		Config:  &oras.Descriptor{MediaType: sbomType, Digest: config.Digest, Size: config.Size},
		Subject: &subject.Descriptor,
	})
	list := document(oras.MediaTypeImageIndex, "list", oras.Manifest{
		ArtifactType: signatureType,
		Manifests:    []oras.Descriptor{subject.Descriptor}, // a child too, and not twice for it
		Subject:      &subject.Descriptor,
	})
	s.push(one, signature)
	s.push(subject)
	s.push(two, byConfig, list, referrer("of one", sbomType, one))
	s.push(index("no referrer", subject.Descriptor))

	s.refers(subject, "", one, two, signature, byConfig, list)
	s.refers(subject, sbomType, one, two, byConfig)
	s.refers(subject, signatureType, signature, list)
	s.refers(subject, "application/vnd.example.none")

	s.remove(one)
	s.remove(list)
	s.refers(subject, "", two, signature, byConfig)
	s.remove(subject)
	s.refers(subject, sbomType, two, byConfig)
}

// refers checks that want are the referrers of node that are of artifactType.
func (s *suite) refers(node content, artifactType string, want ...content) {
	s.Helper()
	op := "Referrers of type " + artifactType + " of " + node.Digest.String()
	var descs []oras.Descriptor
	err := oras.Referrers(s.Context(), s.Store, node.Descriptor, artifactType, func(page []oras.Descriptor) error {
		descs = append(descs, page...)
		return nil
	})
	s.must(err, "Referrers", node.Digest)
	for _, c := range want {
		i := position(descs, c)
		if i < 0 {
			s.Errorf("%s: %s is not among them; it must be", op, c.Digest)
			continue
		}
		s.describes(descs[i], c, op)
		m, err := oras.ParseManifest(c.MediaType, c.data)
		s.must(err, "ParseManifest", c.Digest)
		if descs[i].ArtifactType != m.Type() {
			s.Errorf("%s: %s has the artifact type %q; it must be %q", op, c.Digest, descs[i].ArtifactType, m.Type())
		}
		if !maps.Equal(descs[i].Annotations, m.Annotations) {
			s.Errorf("%s: %s has the annotations %v; it must be %v", op, c.Digest, descs[i].Annotations, m.Annotations)
		}
	}
	if len(descs) != len(want) {
		s.Errorf("%s: %d of them; it must be %d: %v", op, len(descs), len(want), descs)
	}
	for _, c := range want {
		s.refersAfter(node, artifactType, c, want)
	}
}

// refersAfter checks that those of want whose digests come after that of last are the
// referrers of node that do.
func (s *suite) refersAfter(node content, artifactType string, last content, want []content) {
	s.Helper()
	digest, err := oras.ParseDigest(last.Digest)
	s.must(err, "ParseDigest", last.Digest)
	got := map[string]bool{}
	err = oras.ReferrersAfter(s.Context(), s.Store, node.Descriptor, artifactType, digest, func(page []oras.Descriptor) error {
		for _, desc := range page {
			got[desc.Digest.String()] = true
		}
		return nil
	})
	s.must(err, "ReferrersAfter", last.Digest)
	after := map[string]bool{}
	for _, c := range want {
		if c.Digest.String() > last.Digest.String() {
			after[c.Digest.String()] = true
		}
	}
	if !maps.Equal(got, after) {
		s.Errorf("ReferrersAfter %s of %s: %v; it must be %v", last.Digest, node.Digest, got, after)
	}
}

// testDelete: what is deleted is gone, with its tags; what it refers to stays.
func testDelete(s *suite) {
	layer, other := blob("a layer"), blob("by SHA-512").sha512()
	one, two := image("one", layer.Descriptor, other.Descriptor), image("two", layer.Descriptor)
	list := index("list", one.Descriptor, two.Descriptor)
	for _, c := range []content{layer, one, other} {
		s.want(oras.ErrNotFound, s.Delete(s.Context(), c.Descriptor), "Delete of what is absent", c.Digest)
	}
	s.push(config, layer, other, two)
	s.tag(one, "one", "uno", "moved")
	s.tag(list, "list")
	s.tag(two, "moved")
	long := two.sha512()
	s.tag(long, "long")

	s.remove(list)
	s.lacks(list)
	s.unresolved("list")
	for _, c := range []content{one, two, layer, other, config} {
		s.has(c)
	}
	s.lists("", "long", "moved", "one", "uno")
	s.want(oras.ErrNotFound, s.Delete(s.Context(), list.Descriptor), "Delete again", list.Digest)

	s.remove(one)
	s.lacks(one)
	s.unresolved("one")
	s.unresolved("uno")
	s.resolves("moved", two)
	s.lists("", "long", "moved")
	s.want(oras.ErrNotFound, s.Untag(s.Context(), "uno"), "Untag", "uno")

	s.remove(long)
	s.lacks(long)
	s.lists("", "moved")
	s.has(two)

	s.remove(layer) // though two refers to it
	s.lacks(layer)
	s.remove(other)
	s.lacks(other)
	s.has(two)
	s.has(config)

	s.push(layer, other)
	s.tag(one, "one") // it can all come back
	for _, c := range []content{layer, other, one} {
		s.has(c)
	}
	s.resolves("one", one)
	s.unresolved("uno")
	s.lists("", "moved", "one")
}
