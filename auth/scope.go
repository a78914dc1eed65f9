package auth

import (
	"slices"
	"strings"
)

// Scopes are texts such as "repository:hello:pull,push" and "registry:catalog:*":
// a resource and the actions on it (distribution's "Token Scope Documentation").
// Here a list of them is in canonical form: each resource once, resources and
// actions in order, no action twice.

// mergeScopes returns the canonical form of all lists together.
func mergeScopes(lists ...[]string) []string {
	actions := map[string][]string{}
	for _, list := range lists {
		for _, scope := range list {
			resource, more := cutScope(scope)
			actions[resource] = append(actions[resource], more...)
		}
	}
	var merged []string
	for resource, list := range actions {
		slices.Sort(list)
		list = slices.DeleteFunc(slices.Compact(list), func(action string) bool { return action == "" })
		if scope := resource; scope != "" {
			if len(list) > 0 {
				scope += ":" + strings.Join(list, ",")
			}
			merged = append(merged, scope)
		}
	}
	slices.Sort(merged)
	return merged
}

func cutScope(scope string) (resource string, actions []string) {
	i := strings.LastIndexByte(scope, ':')
	if i < 0 {
		return scope, nil
	}
	return scope[:i], strings.Split(scope[i+1:], ",")
}

// coversScopes reports whether all that wanted allows is allowed by scopes too.
func coversScopes(scopes, wanted []string) bool {
	return slices.Equal(mergeScopes(scopes, wanted), scopes)
}
