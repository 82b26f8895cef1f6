package dynamo

import (
	"cmp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

// Attributes of a contact besides its fields: campaign.ReservedFields.
const (
	attrEmail         = "email"
	attrAddress       = "email_as_given"
	attrStatus        = "status"
	attrTags          = "tags"
	attrCreatedAt     = "created_at"
	attrUpdatedAt     = "updated_at"
	attrEmailCount    = "email_count"
	attrLastEmailSent = "last_email_sent"
	attrLastCampaign  = "last_campaign"
)

func contactKey(key string) item { return item{attrEmail: str(key)} }

// contactOf reads an item of the contacts table, also one that another
// program wrote: attributes may be missing, and times and numbers have other
// types.
func contactOf(it item) campaign.Contact {
	c := campaign.Contact{
		Address: text(it[attrAddress]), Fields: map[string]string{},
		Tags: texts(it[attrTags]), Status: contactStatus(it),
		CreatedAt: moment(it[attrCreatedAt]), UpdatedAt: moment(it[attrUpdatedAt]),
		EmailCount: integer(it[attrEmailCount]), LastEmailSent: moment(it[attrLastEmailSent]),
		LastCampaign: text(it[attrLastCampaign]),
	}
	if c.Address == "" {
		c.Address = text(it[attrEmail])
	}
	for name, value := range it {
		if isField(name, value) {
			c.Fields[name] = text(value)
		}
	}
	return c
}

// contactStatus is active where another program has set none.
func contactStatus(it item) campaign.ContactStatus {
	return campaign.ContactStatus(cmp.Or(text(it[attrStatus]), string(campaign.ContactActive)))
}

// isField says whether an attribute is a field of the caller's. Lists, maps,
// sets and binary values of other programs have no form as a field.
func isField(name string, value types.AttributeValue) bool {
	switch value.(type) {
	case *types.AttributeValueMemberS, *types.AttributeValueMemberN, *types.AttributeValueMemberBOOL:
		return !slices.Contains(campaign.ReservedFields, name)
	}
	return false
}

// updateOf says in DynamoDB's terms what a change does.
func updateOf(change campaign.ContactChange, at time.Time) *update {
	u := newUpdate()
	u.set(attrAddress, str(change.Address))
	u.set(attrUpdatedAt, when(at))
	u.setOnce(attrCreatedAt, when(at))
	if change.Status != "" {
		u.set(attrStatus, str(string(change.Status)))
	} else {
		u.setOnce(attrStatus, str(string(campaign.ContactActive)))
	}
	if change.Tags != nil {
		u.set(attrTags, strs(*change.Tags))
	}
	for name, value := range change.Set {
		u.set(name, str(value))
	}
	gone := map[string]bool{} // naming an attribute twice is an error to DynamoDB
	for _, name := range change.Remove {
		if _, set := change.Set[name]; !set && !gone[name] {
			gone[name] = true
			u.remove(name)
		}
	}
	return u
}
