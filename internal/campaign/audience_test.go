package campaign_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/campaign"
)

func TestAudiencePacksAndUnpacks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "fields")
		want := campaign.Audience{Fields: fields, Recipients: []campaign.Recipient{}}
		size := 0
		for range rapid.IntRange(0, 20).Draw(t, "recipients") {
			r := campaign.Recipient{
				Address: rapid.String().Draw(t, "address"),
				Values:  rapid.SliceOfN(rapid.String(), len(fields), len(fields)).Draw(t, "values"),
			}
			size += r.PackedSize()
			want.Recipients = append(want.Recipients, r)
		}
		packed := want.Pack()
		got, err := campaign.UnpackAudience(packed)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Recipients) != len(want.Recipients) {
			t.Fatalf("%d recipients came back of %d", len(got.Recipients), len(want.Recipients))
		}
		for i := range want.Recipients {
			if !reflect.DeepEqual(got.Recipients[i], want.Recipients[i]) {
				t.Errorf("recipient %d: %q came back of %q", i, got.Recipients[i], want.Recipients[i])
			}
		}
		head := 64
		for _, f := range fields {
			head += len(f) + 3
		}
		if len(packed) > head+size {
			t.Errorf("packed to %d octets, more than the %d that PackedSize promised", len(packed), head+size)
		}
	})
}

func FuzzUnpackAudience(f *testing.F) {
	f.Add(campaign.Audience{
		Fields:     []string{"first_name"},
		Recipients: []campaign.Recipient{{Address: "a@b.example", Values: []string{"Ada"}}},
	}.Pack())
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, packed []byte) {
		a, err := campaign.UnpackAudience(packed)
		if err == nil && len(a.Recipients) > len(packed) {
			t.Errorf("%d recipients out of %d octets", len(a.Recipients), len(packed))
		}
	})
}
